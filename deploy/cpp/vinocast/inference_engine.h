// A client of `vinocast stdio`: starts the service as a child process, keeps it alive, and talks to it.
//
//     vinocast::InferenceEngine engine;                       // waits until the service is ready
//     vinocast::ForecastRequest request;
//     request.window = {values.data(), 512, 7};
//     vinocast::Reply reply = engine.predict(request);        // or predict_async, or predict with a callback
//     if (reply.ok()) use(reply.at(0, 6));
//
// The calling thread encodes and writes a request itself; one thread of the engine reads, times out and restarts.
// docs/cpp.md says what is promised.
#pragma once

#ifndef __cpp_exceptions
#error "vinocast: the client reports failed starts by exceptions, so it does not build with -fno-exceptions"
#endif

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <semaphore.h>

#include "market_wire.h"
#include "messages.h"
#include "options.h"
#include "supervisor_loop.h"
#include "supervisor_stages.h"
#include "wire.h"

namespace vinocast {

/// One service process and the requests to it. Every function may be called from any thread at any time, except that
/// nothing that waits (predict, observe, close, the destructor) may be called from a callback. In a forked child
/// requests end as unavailable at once, and nothing touches the service of the process that made the engine.
class InferenceEngine {
 public:
  /// Starts the service and waits until it is ready; throws StartError when it does not get there.
  explicit InferenceEngine(Options options = {})
      : supervisor_(std::make_unique<detail::Supervisor>(std::move(options))) {}

  InferenceEngine(const InferenceEngine&) = delete;
  InferenceEngine& operator=(const InferenceEngine&) = delete;

  /// As close(). In a forked child it leaves the service and its pipes alone.
  ~InferenceEngine() {
    if (!supervisor_->at_home()) supervisor_.release()->leave();
  }

  /// Forecasts, and waits for how it ends.
  Reply predict(const ForecastRequest& request) { return wait_for(request); }
  /// Adds rows to a stream, and waits for how it ends.
  Reply observe(const ObserveRequest& request) { return wait_for(request); }

  /// Forecasts; the future always becomes ready with a reply, and never throws.
  std::future<Reply> predict_async(const ForecastRequest& request) { return future_of(request); }
  /// Adds rows to a stream; the future as above.
  std::future<Reply> observe_async(const ObserveRequest& request) { return future_of(request); }

  /// Forecasts; calls `done` exactly once. Returns the request's id, or 0 if it was refused, `done` having been called.
  std::uint64_t predict(const ForecastRequest& request, Callback done) { return submit(request, std::move(done)); }
  /// Adds rows to a stream; as above. Requests of one thread reach the service in the order of the calls, so a
  /// forecast of the stream may follow without waiting.
  std::uint64_t observe(const ObserveRequest& request, Callback done) { return submit(request, std::move(done)); }

  /// Gives the service one raw message of a market feed, and waits for what it made of it. A message that is refused
  /// ends as service_error; the feed goes on.
  Reply feed(std::string_view message) {
    FeedRequest request;
    request.message = message;
    return wait_for(request);
  }
  /// As above, of several messages or with a forecast for each bar that closes.
  Reply feed(const FeedRequest& request) { return wait_for(request); }
  /// Gives the service messages; the future as above.
  std::future<Reply> feed_async(const FeedRequest& request) { return future_of(request); }
  /// Gives the service messages; calls `done` as above. Messages of one thread reach the service in the order of the
  /// calls. One that ends as overloaded was not sent: what is in flight has to be waited for, and it is to be fed
  /// again.
  std::uint64_t feed(const FeedRequest& request, Callback done) { return submit(request, std::move(done)); }

  /// Gives a market stream the bars before what was fed, or those that were missed.
  Reply history(const HistoryRequest& request) { return wait_for(request); }
  std::future<Reply> history_async(const HistoryRequest& request) { return future_of(request); }
  std::uint64_t history(const HistoryRequest& request, Callback done) { return submit(request, std::move(done)); }

  /// Asks for the newest bars of a market stream, and its counts.
  Reply bars(const BarsRequest& request) { return wait_for(request); }
  std::future<Reply> bars_async(const BarsRequest& request) { return future_of(request); }
  std::uint64_t bars(const BarsRequest& request, Callback done) { return submit(request, std::move(done)); }

  /// Forecasts a stream, all its channels, and waits for how it ends.
  Reply forecast(const std::string& stream) {
    ForecastRequest request;
    request.stream = stream;
    return wait_for(request);
  }

  /// What the service said when it last became ready.
  ServiceInfo service() const { return supervisor_->service(); }
  /// What was counted so far.
  Counters counters() const { return supervisor_->counters(); }

  /// Accepts nothing more, closes the service's input once everything accepted is written, delivers the answers that
  /// still come, and waits for the process; SIGTERM after Options::drain_timeout, SIGKILL after
  /// Options::terminate_timeout more. What has no answer by then ends as lost or unavailable. Safe to repeat.
  void close() { supervisor_->close(); }

 private:
  using Millis = std::chrono::milliseconds;

  template <typename Request>
  Reply wait_for(const Request& request) {
    if (supervisor_->in_engine_thread()) {
      throw std::logic_error("vinocast: a callback cannot wait for a reply; pass a callback instead");
    }
    // A semaphore is one futex: the quickest way to wake one thread. The engine ends every request, so this needs no
    // time limit of its own.
    struct Waiter {
      Waiter() { ::sem_init(&ended, 0, 0); }
      Waiter(const Waiter&) = delete;
      Waiter& operator=(const Waiter&) = delete;
      ~Waiter() { ::sem_destroy(&ended); }
      sem_t ended;
      Reply reply;
    } waiter;
    submit(request, [&waiter](Reply&& reply) {
      waiter.reply = std::move(reply);
      ::sem_post(&waiter.ended);
    });
    while (::sem_wait(&waiter.ended) != 0) {
    }
    return std::move(waiter.reply);
  }

  template <typename Request>
  std::future<Reply> future_of(const Request& request) {
    auto promise = std::make_shared<std::promise<Reply>>();
    std::future<Reply> future = promise->get_future();
    submit(request, [promise](Reply&& reply) { promise->set_value(std::move(reply)); });
    return future;
  }

  template <typename Request>
  std::uint64_t submit(const Request& request, Callback done) {
    const auto now = detail::Clock::now();
    // A year is for ever; more could overflow the clock.
    const Millis timeout =
        std::clamp(request.timeout.value_or(supervisor_->options().timeout), Millis(0), Millis(31'536'000'000));
    const auto refuse = [&](Error error) {
      supervisor_->count(Outcome::service_error);
      Reply reply;
      reply.outcome = Outcome::service_error;
      reply.error = std::move(error);
      detail::Supervisor::refuse(std::move(reply), now, request.timestamp_ms, done);
      return std::uint64_t{0};
    };
    if (const char* field = detail::not_utf8(request)) {
      return refuse({"invalid_request", std::string(field) + ": expected UTF-8", field, false});
    }
    // Kept by each calling thread, so that encoding allocates only the first time.
    thread_local std::string body;
    body.clear();
    detail::append_body(body, request, supervisor_->options().encoding, timeout);
    // The service skips a longer line to its end, and cannot say whose it was.
    const std::size_t limit = supervisor_->max_request_bytes();
    if (limit > 0 && body.size() + detail::longest_head > limit) {
      return refuse({"line_too_long",
                     "expected a request of at most " + std::to_string(limit) + " bytes, got " +
                         std::to_string(body.size() + detail::longest_head),
                     "", false});
    }
    return supervisor_->send(body, now, timeout, request.timestamp_ms, std::move(done));
  }

  std::unique_ptr<detail::Supervisor> supervisor_;
};

}  // namespace vinocast
