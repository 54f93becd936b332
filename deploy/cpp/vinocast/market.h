// Market streams: bars that the service makes of an exchange's raw messages, and what can be asked of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vinocast {

/// How far a bar can be trusted.
enum class BarState {
  open,        ///< the newest one: it still changes
  complete,    ///< every trade of it has been seen
  filled,      ///< nothing was traded: the close before, and no volume
  incomplete,  ///< trades of it are known to be missing
  missing,     ///< nothing of it is known; its numbers are NaN
};

/// The state's name, as above.
inline const char* to_string(BarState state) noexcept {
  switch (state) {
    case BarState::open: return "open";
    case BarState::complete: return "complete";
    case BarState::filled: return "filled";
    case BarState::incomplete: return "incomplete";
    case BarState::missing: return "missing";
  }
  return "unknown";
}

/// What was traded in one bucket of time.
struct Bar {
  std::int64_t start_s = 0;  ///< unix seconds
  double open = 0;
  double high = 0;
  double low = 0;
  double close = 0;
  double volume = 0;
  BarState state = BarState::complete;
};

/// A bar that has closed, and the stream it is of, such as BTC-USD@5m.
struct ClosedBar {
  std::string stream{};
  Bar bar{};
};

/// What became of messages, trades and candles. docs/protocol.md says what each of them counts.
struct FeedCounts {
  std::uint64_t seen = 0;
  std::uint64_t used = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t late = 0;
  std::uint64_t missed_trades = 0;
  std::uint64_t missed_messages = 0;
  std::uint64_t ignored = 0;
  std::uint64_t errors = 0;
  std::uint64_t refused = 0;
  std::uint64_t re_sent_closed_bucket = 0;

  /// Each of them with its name.
  static constexpr std::pair<std::string_view, std::uint64_t FeedCounts::*> all[] = {
      {"seen", &FeedCounts::seen},
      {"used", &FeedCounts::used},
      {"duplicates", &FeedCounts::duplicates},
      {"late", &FeedCounts::late},
      {"missed_trades", &FeedCounts::missed_trades},
      {"missed_messages", &FeedCounts::missed_messages},
      {"ignored", &FeedCounts::ignored},
      {"errors", &FeedCounts::errors},
      {"refused", &FeedCounts::refused},
      {"re_sent_closed_bucket", &FeedCounts::re_sent_closed_bucket},
  };
  FeedCounts& operator+=(const FeedCounts& other) noexcept {
    for (const auto& [name, member] : all) this->*member += other.*member;
    return *this;
  }
};

/// What is forecast whenever a bar closes. The forecast, or why there is none, goes to Options::on_forecast.
struct BarForecast {
  std::vector<std::string> targets{};     ///< channels to forecast, in this order; empty: all of them
  std::vector<double> quantile_levels{};  ///< each in 0..1
  std::size_t prediction_length = 0;      ///< steps; 0: as many as the model has
  bool interpolate = false;               ///< whether missing bars are filled in a straight line, and not refused
  std::string model{};                    ///< empty: the service chooses
};

/// Gives the service raw messages of Coinbase's Exchange or Advanced Trade feed, as they came off the socket: one in
/// `message`, or several, oldest first, in `messages`. They are read while the call that was given them runs, and not
/// later. One that is no JSON object reaches the service as a string that says so, so that it is refused and counted
/// like any other.
struct FeedRequest {
  std::string_view message{};
  std::vector<std::string_view> messages{};            ///< if not empty, instead of `message`
  bool connected = false;                              ///< whether a new connection has begun with these
  std::optional<BarForecast> on_bar{};                 ///< empty: nothing is forecast
  std::optional<std::int64_t> timestamp_ms{};          ///< yours; comes back in the reply
  std::optional<std::chrono::milliseconds> timeout{};  ///< empty: Options::timeout
};

/// Gives a stream the bars before what was fed, or those that were missed. They may stand in any order and their state
/// does not count; those without numbers are left out.
struct HistoryRequest {
  std::string stream{};
  std::vector<Bar> bars{};
  std::optional<BarForecast> on_bar{};
  std::optional<std::int64_t> timestamp_ms{};
  std::optional<std::chrono::milliseconds> timeout{};
};

/// Asks for the newest bars of a stream, the open one among them, and its counts.
struct BarsRequest {
  std::string stream{};
  std::size_t last = 0;  ///< how many; 0: all that are kept
  std::optional<std::int64_t> timestamp_ms{};
  std::optional<std::chrono::milliseconds> timeout{};
};

}  // namespace vinocast
