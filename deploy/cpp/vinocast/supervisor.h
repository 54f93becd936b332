// Keeps a service process running and its requests moving: the engine's one thread, and what callers share with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>

#include "child_process.h"
#include "in_flight.h"
#include "line_transport.h"
#include "messages.h"
#include "options.h"
#include "wire.h"

namespace vinocast {

/// The service could not be started; the message says why and names the program.
class StartError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// One service process after another, and the requests to them.
///
/// Callers write requests themselves, under the lock; the thread reads replies, ends what takes too long, and starts,
/// restarts and stops processes. It never waits but in poll(), and never calls back with the lock held.
class Supervisor {
  using Time = Clock::time_point;
  using Millis = std::chrono::milliseconds;

 public:
  /// Starts the service and waits until it is ready; throws StartError when it does not get there.
  explicit Supervisor(Options options)
      : options_(std::move(options)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        replies_(options_.max_reply_bytes),
        logs_(options_.max_reply_bytes),
        backoff_(options_.first_backoff),
        in_flight_(std::max<std::size_t>(options_.max_in_flight, 1)) {
    if (!wake_) throw_errno("eventfd");
    // The engine's thread runs none of the program's signal handlers: it starts with everything blocked.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread(&Supervisor::run, this);
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    std::unique_lock<std::mutex> lock(mutex_);
    settled_.wait(lock, [this] { return phase_ == Phase::ready || phase_ == Phase::ended; });
    if (phase_ == Phase::ready) return;
    lock.unlock();
    thread_.join();
    throw StartError(why_ended_);
  }

  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() { close(); }

  const Options& options() const noexcept { return options_; }
  /// Whether this is the thread that calls back, in which nothing may wait for a reply.
  bool in_engine_thread() const noexcept { return std::this_thread::get_id() == engine_thread_; }

  /// What the service said when it last became ready.
  ServiceInfo service() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return service_;
  }

  /// What was counted so far.
  Counters counters() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return in_flight_.counters;
  }

  /// Sends a request, of which `body` is the line behind the id, or refuses it; `done` is called once either way.
  /// Returns the request's id, 0 if it was refused.
  std::uint64_t send(const std::string& body, Time now, Millis timeout, std::optional<std::int64_t> timestamp_ms,
                     Callback done) {
    std::uint64_t id = 0;
    Outcome refused = Outcome::overloaded;
    bool engine_must_look = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (close_requested_ || phase_ == Phase::ended) {
        refused = Outcome::unavailable;
      } else if (Pending* pending = in_flight_.add(); pending != nullptr) {
        id = pending->id;
        pending->done = std::move(done);
        pending->submitted = now;
        pending->deadline = now + timeout;
        pending->timestamp_ms = timestamp_ms;
        engine_must_look = write(*pending, body);
        if (pending->deadline < requests_timer_) {
          requests_timer_ = pending->deadline;
          engine_must_look = true;
        }
      }
      if (id == 0) in_flight_.count(refused);
    }
    if (engine_must_look) wake();
    if (id != 0) return id;
    Reply reply = ended_as(refused, refused == Outcome::overloaded
                                        ? "as many requests are in flight as max_in_flight allows"
                                        : "the engine is closed, or has given up on the service");
    reply.timestamp_ms = timestamp_ms;
    reply.round_trip = Clock::now() - now;
    done(std::move(reply));
    return 0;
  }

  /// As InferenceEngine::close().
  void close() {
    if (in_engine_thread()) {
      throw std::logic_error("vinocast: close() was called from a callback");
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      close_requested_ = true;
    }
    wake();
    const std::lock_guard<std::mutex> lock(close_mutex_);
    if (thread_.joinable()) thread_.join();
  }

 private:
  enum class Phase {
    starting,  // a process runs and has not answered its ping
    ready,
    waiting,   // no process; the next one is started when the pause is over
    draining,  // close() was called; the process is to end
    ended,
  };

  /// Writes a request, or what the pipe takes of it; returns whether the engine's thread has to write the rest.
  bool write(Pending& pending, const std::string& body) {
    char start[48];
    const std::string_view head(start, write_head(start, pending.id));
    std::size_t written = 0;
    if (phase_ == Phase::ready && outbox_.empty()) {
      written = write_some(process_.stdin_fd(), head, body);
      pending.sent = written > 0;
      if (written == head.size() + body.size()) return false;
    }
    outbox_.push(pending.id, head, body, written);
    return phase_ == Phase::ready;
  }

  void wake() noexcept {
    const std::uint64_t one = 1;
    // Full means that a wake-up is on its way already.
    [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
  }

  // ---------------------------------------------------------------- the engine's thread

  void run() {
    engine_thread_ = std::this_thread::get_id();
    start();
    while (phase_ != Phase::ended) turn();
  }

  /// Waits for the next thing to happen, and deals with it.
  void turn() {
    bool has_output = false;
    Time until = stage_timer_;
    bool drain = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      drain = close_requested_ && phase_ != Phase::draining;
      has_output = !outbox_.empty() && (phase_ == Phase::ready || phase_ == Phase::draining);
      until = std::min(until, requests_timer_);
    }
    if (drain) {
      begin_to_drain();
      return;
    }

    enum { wake_up, child_ended, child_output, child_log, child_input, sources };
    // poll() skips negative descriptors.
    pollfd polled[sources] = {{wake_.get(), POLLIN, 0},
                              {process_.pidfd(), POLLIN, 0},
                              {process_.stdout_fd(), POLLIN, 0},
                              {process_.stderr_fd(), POLLIN, 0},
                              {has_output ? process_.stdin_fd() : -1, POLLOUT, 0}};
    ::poll(polled, sources, poll_timeout(until));

    if (polled[wake_up].revents != 0) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t count = ::read(wake_.get(), &ignored, sizeof ignored);
    }
    if (polled[child_output].revents != 0) read_replies();
    if (polled[child_log].revents != 0) read_logs();
    if (polled[child_input].revents != 0) {
      const std::lock_guard<std::mutex> lock(mutex_);
      flush_outbox();
    }
    if (process_.running() && (polled[child_ended].revents != 0 || (process_.pidfd() < 0 && process_.ended()))) {
      process_ended();
      return;
    }
    const Time now = Clock::now();
    if (now >= requests_timer()) expire_requests(now);
    if (now >= stage_timer_) stage_over();
    if (phase_ == Phase::draining) close_input_when_written();
  }

  int poll_timeout(Time until) const {
    // Without a pidfd nothing tells of a death that leaves the pipes open.
    constexpr Millis look_around{50};
    Millis longest = process_.running() && process_.pidfd() < 0 ? look_around : Millis(3'600'000);
    const auto left = std::chrono::ceil<Millis>(until - Clock::now());
    return static_cast<int>(std::clamp(left, Millis(0), longest).count());
  }

  void start() {
    std::vector<std::string> arguments{"stdio"};
    arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
    ++generation_;
    stdout_closed_ = false;
    kill_reason_.clear();
    replies_.reset();
    logs_.reset();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      try {
        process_.spawn(options_.program, arguments, static_cast<bool>(options_.on_stderr));
        phase_ = Phase::starting;
      } catch (const std::system_error& error) {
        kill_reason_ = std::string(error.what()) + "; put it in PATH, or set Options::program";
      }
    }
    if (!kill_reason_.empty()) {
      restart_or_give_up(kill_reason_, {});
      return;
    }
    // Answered once the default model is ready or has been refused. The pipe is empty: it fits.
    write_some(process_.stdin_fd(), "{\"request_id\":0,\"op\":\"ping\"}\n", {});
    stage_timer_ = Clock::now() + options_.start_timeout;
  }

  void read_replies() {
    const auto result = replies_.fill(process_.stdout_fd());
    take_lines();
    if (result != LineReader::Read::end) return;
    process_.close_stdout();
    stdout_closed_ = true;
    // A dying process closes its output a moment before it has ended; one that goes on living is of no use.
    if (phase_ != Phase::draining) stage_timer_ = std::min(stage_timer_, Clock::now() + Millis(1000));
  }

  void take_lines() {
    const std::uint64_t overlong = replies_.overlong();
    Line line;
    while (replies_.next(line)) take_line(line);
    if (replies_.overlong() != overlong) count_garbage();
  }

  void take_line(const Line& line) {
    simdjson::dom::object object;
    std::uint64_t id = 0;
    if (!reader_.parse(line, object, id)) {
      count_garbage();
    } else if (id == 0) {
      take_pong(object);
    } else {
      Reply reply;
      if (!ReplyReader::read(object, reply)) {
        reply.outcome = Outcome::service_error;
        reply.error = {"malformed_reply", "the service sent a reply that is not as docs/protocol.md says", "", false};
      }
      take_reply(id, std::move(reply));
    }
  }

  void take_reply(std::uint64_t id, Reply&& reply) {
    Callback done;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      Pending* pending = in_flight_.find(id);
      if (pending == nullptr || !pending->sent) {
        ++in_flight_.counters.garbage_lines;
        return;
      }
      if (pending->ended) {
        ++in_flight_.counters.late_replies;
        in_flight_.remove(*pending);
        return;
      }
      done = in_flight_.end(*pending, reply);
      in_flight_.remove(*pending);
    }
    done(std::move(reply));
  }

  void take_pong(const simdjson::dom::object& object) {
    ServiceInfo info;
    if (phase_ != Phase::starting || !ReplyReader::read(object, info)) {
      count_garbage();
      return;
    }
    if (!info.ready) {
      kill_process("refused its default model: " + info.default_model_info().error);
      return;
    }
    info.pid = process_.pid();
    info.generation = generation_;
    const std::string message = "vinocast " + info.version + " is ready, process " + std::to_string(info.pid);
    stage_timer_ = Time::max();
    ready_since_ = Clock::now();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      service_ = std::move(info);
      phase_ = Phase::ready;
      flush_outbox();
    }
    settled_.notify_all();
    tell({Event::Kind::ready, generation_, message, {}, {}});
  }

  void read_logs() {
    const auto result = logs_.fill(process_.stderr_fd());
    Line line;
    while (logs_.next(line)) options_.on_stderr(std::string_view(line.data, line.size));
    if (result == LineReader::Read::end) process_.close_stderr();
  }

  /// With the lock.
  void flush_outbox() {
    if (process_.stdin_fd() < 0) return;
    outbox_.flush(process_.stdin_fd(), [this](std::uint64_t id) { in_flight_.find(id)->sent = true; });
  }

  Time requests_timer() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_timer_;
  }

  /// Ends the requests whose time is up, finds out whether the service hangs, and sets the timer anew.
  void expire_requests(Time now) {
    Ending ending;
    bool hangs = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      requests_timer_ = Time::max();
      in_flight_.for_each([&](Pending& pending) {
        if (!pending.ended && pending.deadline <= now) {
          in_flight_.end(pending, Outcome::timed_out, "no answer in time", ending);
          if (!pending.sent) {
            outbox_.remove(pending.id);
            in_flight_.remove(pending);
            return;
          }
          pending.ended = true;
        }
        const Time next = pending.ended ? pending.deadline + options_.hang_timeout : pending.deadline;
        if (pending.ended && next <= now) {
          hangs = true;
        } else {
          requests_timer_ = std::min(requests_timer_, next);
        }
      });
    }
    deliver(ending);
    if (hangs && phase_ == Phase::ready) {
      kill_process("owed an answer for " + std::to_string(options_.hang_timeout.count()) +
                   " ms beyond the request's time");
    }
  }

  void kill_process(std::string reason) {
    kill_reason_ = std::move(reason);
    stage_timer_ = Time::max();
    process_.signal(SIGKILL);
  }

  /// The time that the present phase may take is up.
  void stage_over() {
    switch (phase_) {
      case Phase::starting:
      case Phase::ready:
        kill_process(stdout_closed_ ? "closed its output"
                                    : "was not ready after " + std::to_string(options_.start_timeout.count()) + " ms");
        break;
      case Phase::waiting:
        start();
        break;
      case Phase::draining:
        push_towards_the_end();
        break;
      case Phase::ended:
        break;
    }
  }

  /// The process is gone: read what it left, end what it had, and arrange for the next one.
  void process_ended() {
    process_.signal(SIGKILL);  // what a wrapper script left behind would go on writing
    // Bounded by what a pipe holds.
    for (int reads = 0; reads < 64 && process_.stdout_fd() >= 0; ++reads) {
      const auto result = replies_.fill(process_.stdout_fd());
      take_lines();
      if (result != LineReader::Read::some) break;
    }
    for (int reads = 0; reads < 64 && process_.stderr_fd() >= 0; ++reads) {
      const auto result = logs_.fill(process_.stderr_fd());
      Line line;
      while (logs_.next(line)) options_.on_stderr(std::string_view(line.data, line.size));
      if (result != LineReader::Read::some) break;
    }
    const bool draining = phase_ == Phase::draining;
    std::string how = kill_reason_;
    Ending ending;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const std::string status = process_.reap();
      if (how.empty()) how = status + (phase_ == Phase::starting ? " before it was ready" : "");
      if (!draining) phase_ = Phase::waiting;
      outbox_.drop_started();
      in_flight_.for_each([&](Pending& pending) {
        if (!pending.sent) return;
        if (!pending.ended) in_flight_.end(pending, Outcome::lost, "the service " + how, ending);
        in_flight_.remove(pending);
      });
    }
    if (draining) {
      deliver(ending);
      finish("the engine is closed");
    } else {
      restart_or_give_up(options_.program + " " + how, std::move(ending));
    }
  }

  /// Delivers the lost requests and plans the next start, or ends for good.
  void restart_or_give_up(const std::string& why, Ending lost) {
    const Time now = Clock::now();
    const bool never_ready = ready_since_ == Time{};
    if (!never_ready && now - ready_since_ >= options_.stable_after) {
      restarts_in_a_row_ = 0;
      backoff_ = options_.first_backoff;
    }
    Event event{Event::Kind::died, generation_, why, {}, backoff_};
    for (const auto& [done, reply] : lost) event.lost.push_back(reply.id);
    deliver(lost);
    if (never_ready || restarts_in_a_row_ == options_.max_restarts) {
      event.kind = Event::Kind::gave_up;
      event.restart_in = Millis(0);
      tell(event);
      finish(why);
      return;
    }
    tell(event);
    ++restarts_in_a_row_;
    stage_timer_ = Clock::now() + backoff_;
    backoff_ = std::min(backoff_ * 2, options_.max_backoff);
    const std::lock_guard<std::mutex> lock(mutex_);
    phase_ = Phase::waiting;
    ++in_flight_.counters.restarts;
  }

  void begin_to_drain() {
    if (!process_.running()) {
      finish("the engine is closed");
      return;
    }
    const bool ready = phase_ == Phase::ready;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      phase_ = Phase::draining;
      // A service that has yet to load its model is not waited for.
      if (!ready) outbox_.clear();
    }
    drain_stage_ = 0;
    stage_timer_ = Clock::now() + (ready ? options_.drain_timeout : Millis(0));
    close_input_when_written();
  }

  void close_input_when_written() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (outbox_.empty()) process_.close_stdin();
  }

  /// SIGTERM, then SIGKILL, then leave it: a killed process that does not end hangs in the kernel.
  void push_towards_the_end() {
    constexpr Millis kill_timeout{2000};
    switch (drain_stage_++) {
      case 0:
        process_.signal(SIGTERM);
        stage_timer_ = Clock::now() + options_.terminate_timeout;
        break;
      case 1:
        process_.signal(SIGKILL);
        stage_timer_ = Clock::now() + kill_timeout;
        break;
      default:
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          process_.abandon();
        }
        finish("the engine is closed");
        break;
    }
  }

  /// Ends the engine: nothing is left waiting.
  void finish(const std::string& why) {
    Ending ending;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      phase_ = Phase::ended;
      why_ended_ = why;
      outbox_.clear();
      in_flight_.for_each([&](Pending& pending) {
        if (!pending.ended) in_flight_.end(pending, pending.sent ? Outcome::lost : Outcome::unavailable, why, ending);
        in_flight_.remove(pending);
      });
    }
    deliver(ending);
    settled_.notify_all();
  }

  void count_garbage() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++in_flight_.counters.garbage_lines;
  }

  void tell(const Event& event) const {
    if (options_.on_event) options_.on_event(event);
  }

  const Options options_;
  Descriptor wake_;

  // The engine's thread only.
  LineReader replies_;
  LineReader logs_;
  ReplyReader reader_;
  Time stage_timer_ = Time::max();  // until when the present phase may take
  Time ready_since_{};              // of the last process that became ready
  std::string kill_reason_;         // why the process was killed from here, if it was
  bool stdout_closed_ = false;
  int drain_stage_ = 0;
  unsigned generation_ = 0;
  unsigned restarts_in_a_row_ = 0;
  Millis backoff_;  // before the next restart

  // Guarded by the lock; phase_, process_ and why_ended_ are changed by the engine's thread alone, which therefore
  // reads them without.
  mutable std::mutex mutex_;
  Phase phase_ = Phase::starting;
  ChildProcess process_;
  InFlight in_flight_;
  Outbox outbox_;
  // Not later than the next moment at which expire_requests() has work. It is left standing when requests are answered
  // before: waking up for nothing once in a while costs less than waking the thread for each request.
  Time requests_timer_ = Time::max();
  bool close_requested_ = false;
  std::string why_ended_;
  ServiceInfo service_;

  std::condition_variable settled_;
  std::mutex close_mutex_;
  std::thread thread_;
  std::thread::id engine_thread_;  // set before the constructor returns, and then left alone
};

}  // namespace detail
}  // namespace vinocast
