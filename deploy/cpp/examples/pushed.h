// What comes beside the replies: forecasts that the service pushes, and the exchange's time.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "times.h"
#include "vinocast/inference_engine.h"

namespace market {

using Clock = std::chrono::steady_clock;

/// A forecast that the service has pushed, and when it came.
struct Pushed {
  vinocast::Reply forecast;
  Clock::time_point came;
};

/// Brings forecasts from the engine's thread to the one that prints. Forecasts of a stream come in the order of their
/// bars; an error may come before the forecast of an earlier bar, and one without a time is of all bars of its stream
/// that have closed with one request and are not told of otherwise.
class Mailbox {
 public:
  void put(vinocast::Reply&& forecast) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::int64_t start_ms = forecast.newest_timestamp_ms.value_or(of_the_rest);
    Bars& bars = waiting_[forecast.stream];
    last_ = Clock::now();
    bars.insert_or_assign(start_ms, Pushed{std::move(forecast), last_});
    came_.notify_one();
  }

  /// Says that what the service has not pushed by now does not come any more.
  void give_up() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++given_up_;
    came_.notify_one();
  }

  /// How often that was said; for `take`.
  unsigned given_up() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return given_up_;
  }

  /// The forecast of a stream's bar, or the error in its place. That is one of ours where none comes in time, or can
  /// come no more: it was given up since `given_up`, or the forecast of a later bar is there. Bars are to be asked for
  /// in the order in which they closed: what is of an earlier one is dropped.
  Pushed take(const std::string& stream, std::int64_t start_s, std::chrono::milliseconds timeout, unsigned given_up) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::int64_t start_ms = start_s * 1000;
    Bars& bars = waiting_[stream];
    const auto passed_over = [&] {
      return std::any_of(bars.upper_bound(start_ms), bars.end(),
                         [](const auto& one) { return one.second.forecast.ok(); });
    };
    const auto ended = [&] { return given_up_ != given_up || bars.count(start_ms) > 0 || passed_over(); };
    const auto of_several = [&] { return bars.count(of_the_rest) > 0; };
    const Clock::time_point until = Clock::now() + timeout;
    came_.wait_until(lock, until, [&] { return ended() || of_several(); });
    // What it is of comes behind the forecasts, which may still be computed.
    if (of_several()) came_.wait_until(lock, std::min(until, last_ + grace), ended);
    bars.erase(bars.upper_bound(of_the_rest), bars.lower_bound(start_ms));
    if (const auto found = bars.find(start_ms); found != bars.end()) {
      Pushed pushed = std::move(found->second);
      bars.erase(found);
      return pushed;
    }
    if (of_several()) return bars.at(of_the_rest);
    if (given_up_ != given_up) return lost("the service has ended before it came");
    if (passed_over()) return lost("it was lost: that of a later bar has come");
    return lost("none has come within " + std::to_string(timeout.count() / 1000) + " s");
  }

  /// Forgets the errors without a time: the bars of one request have been told of.
  void end_request() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [stream, bars] : waiting_) bars.erase(of_the_rest);
  }

 private:
  using Bars = std::map<std::int64_t, Pushed>;  // by the start in ms
  static Pushed lost(const std::string& message) {
    Pushed pushed{{}, Clock::now()};
    pushed.forecast.outcome = vinocast::Outcome::lost;
    pushed.forecast.error.message = message;
    return pushed;
  }

  static constexpr std::chrono::seconds grace{5};
  static constexpr std::int64_t of_the_rest = std::numeric_limits<std::int64_t>::min();

  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::string, Bars> waiting_;
  Clock::time_point last_{};
  unsigned given_up_ = 0;
};

/// The exchange's own time of a message in ms, where it says one.
inline std::optional<std::int64_t> time_of(std::string_view message) {
  static simdjson::dom::parser parser;
  simdjson::dom::object object;
  std::string_view text;
  std::int64_t time_ms = 0;
  if (parser.parse(message.data(), message.size()).get(object) != simdjson::SUCCESS) return std::nullopt;
  for (const char* key : {"timestamp", "time"}) {
    if (object[key].get(text) == simdjson::SUCCESS && read_time(text, time_ms)) return time_ms;
  }
  return std::nullopt;
}

}  // namespace market
