// What comes beside the replies: forecasts that the service pushes, and the exchange's time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
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

/// Brings forecasts from the engine's thread to the one that prints.
class Mailbox {
 public:
  void put(vinocast::Reply&& forecast) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string stream = forecast.stream;
    waiting_.emplace(std::move(stream), Pushed{std::move(forecast), Clock::now()});
    came_.notify_one();
  }

  /// The forecast of a stream's bar, or the error in its place; nothing where none comes in time. Bars are to be asked
  /// for in the order in which they closed: a forecast of an earlier one has come too late, and is dropped.
  std::optional<Pushed> take(const std::string& stream, std::int64_t start_s, std::chrono::milliseconds timeout) {
    const Clock::time_point until = Clock::now() + timeout;
    std::unique_lock<std::mutex> lock(mutex_);
    const auto there = [&] { return waiting_.count(stream) > 0; };
    while (came_.wait_until(lock, until, there)) {
      const auto found = waiting_.lower_bound(stream);
      Pushed pushed = std::move(found->second);
      waiting_.erase(found);
      if (pushed.forecast.newest_timestamp_ms.value_or(start_s * 1000) >= start_s * 1000) return pushed;
    }
    return std::nullopt;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::multimap<std::string, Pushed> waiting_;  // those of a stream in the order in which they came
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
