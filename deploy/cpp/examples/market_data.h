// Bars from files: candles in CSV, and captures of Coinbase's WebSocket feed.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <simdjson.h>

namespace market {

struct Bar {
  std::int64_t timestamp_ms = 0;  // of its beginning
  std::vector<float> values{};
};

/// Bars in ascending order of time.
struct Series {
  std::vector<std::string> names{};  // of the channels
  std::vector<Bar> bars{};
  std::string source{};  // what was read and what was skipped, for a person
};

/// The channels of candles, named as in CryptoDataDownload's files: the volume in coins comes before that in dollars.
inline const std::vector<std::string> candle_channels{"open",       "high",   "low",    "close",
                                                      "volume_btc", "volume", "typical"};

inline float typical_price(float high, float low, float close) { return (high + low + close) / 3; }

/// Reads the whole text as a number; false when it is none.
template <typename Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

inline std::vector<std::string> cells_of(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  std::vector<std::string> cells;
  for (std::size_t start = 0; start <= line.size();) {
    const std::size_t comma = std::min(line.find(',', start), line.size());
    cells.push_back(line.substr(start, comma - start));
    start = comma + 1;
  }
  return cells;
}

/// Milliseconds since 1970 of a date like "2019-10-17 09-AM", which is in UTC; false when it is none.
inline bool read_candle_date(const std::string& date, std::int64_t& milliseconds) {
  std::tm parts{};
  char half[3]{};
  if (std::sscanf(date.c_str(), "%d-%d-%d %d-%2s", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                  half) != 5 ||
      parts.tm_hour < 1 || parts.tm_hour > 12) {
    return false;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  parts.tm_hour = parts.tm_hour % 12 + (half[0] == 'P' ? 12 : 0);
  milliseconds = std::int64_t{::timegm(&parts)} * 1000;
  return true;
}

/// Reads one of two kinds of CSV:
///   * candles as CryptoDataDownload publishes them: a banner line, then `date,symbol,open,high,low,close,volume_btc,
///     volume`, newest row first, dates like `2019-10-17 09-AM`. Of rows with the same time the one that stands first
///     in the file is kept. The typical price is added.
///   * anything else with a header line: `timestamp,c1,…,cN`, the timestamp in milliseconds.
inline Series read_csv(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Series series;
  std::string text;
  std::size_t line = 0;
  bool candles = false;
  const auto wrong = [&](const std::string& expected, const std::string& got) {
    return std::runtime_error(path + ", line " + std::to_string(line) + ": expected " + expected + ", got '" + got +
                              "'");
  };
  while (std::getline(file, text)) {
    ++line;
    const std::vector<std::string> cells = cells_of(text);
    if (line == 1 && cells.back().rfind("http", 0) == 0) continue;  // the banner names its site
    if (series.names.empty()) {
      candles = cells.size() == 8 && cells[0] == "date" && cells[1] == "symbol";
      if (candles) {
        series.names = candle_channels;
      } else {
        series.names.assign(cells.begin() + 1, cells.end());
      }
      continue;
    }
    if (cells.size() != series.names.size() + 1) {
      throw wrong(std::to_string(series.names.size() + 1) + " cells", std::to_string(cells.size()));
    }
    Bar bar;
    if (candles) {
      if (!read_candle_date(cells[0], bar.timestamp_ms)) throw wrong("a date like 2019-10-17 09-AM", cells[0]);
    } else if (!read_number(cells[0], bar.timestamp_ms)) {
      throw wrong("a timestamp", cells[0]);
    }
    for (std::size_t i = candles ? 2 : 1; i < cells.size(); ++i) {
      if (!read_number(cells[i], bar.values.emplace_back())) throw wrong("a number", cells[i]);
    }
    if (candles) bar.values.push_back(typical_price(bar.values[1], bar.values[2], bar.values[3]));
    series.bars.push_back(std::move(bar));
  }
  const auto earlier = [](const Bar& one, const Bar& other) { return one.timestamp_ms < other.timestamp_ms; };
  const auto same = [](const Bar& one, const Bar& other) { return one.timestamp_ms == other.timestamp_ms; };
  std::stable_sort(series.bars.begin(), series.bars.end(), earlier);
  series.bars.erase(std::unique(series.bars.begin(), series.bars.end(), same), series.bars.end());
  series.source = std::to_string(series.bars.size()) + " bars from " + std::to_string(line) + " lines of " + path;
  return series;
}

/// Gathers the candles of one product from raw messages of Coinbase's Advanced Trade feed, in the order in which they
/// came. Everything that is no candle is counted and skipped.
class CandleCapture {
 public:
  static constexpr std::int64_t bucket_s = 300;
  static constexpr std::int64_t year_10000_s = 253'402'300'800;

  explicit CandleCapture(std::string product) : product_(std::move(product)) {}

  /// Takes one message.
  void add(const std::string& message) {
    simdjson::dom::object object;
    std::string_view text;
    if (parser_.parse(message).get(object) != simdjson::SUCCESS) {
      ++unreadable_;
    } else if (object["channel"].get(text) == simdjson::SUCCESS && text == "candles") {
      ++(add_candles(object) ? messages_ : unreadable_);
    } else if (object["type"].get(text) == simdjson::SUCCESS && text == "error") {
      ++errors_;
    } else {
      ++others_;
    }
  }

  /// The completed bars. The newest bucket is left out: it is still open. A bucket without trades, which the feed
  /// leaves out, is a bar with the last close and no volume.
  Series series() const {
    // So long without a trade is a wrong clock or another market, and bars would be made up by the thousand.
    constexpr std::int64_t longest_silence = 7 * 24 * 3600 / bucket_s;
    Series series;
    series.names = candle_channels;
    std::size_t filled = 0;
    for (auto candle = candles_.begin(); candle != candles_.end() && std::next(candle) != candles_.end(); ++candle) {
      const std::int64_t next = std::next(candle)->first;
      if ((next - candle->first) / bucket_s > longest_silence) {
        throw std::runtime_error("no candles of " + product_ + " between " + std::to_string(candle->first) + " and " +
                                 std::to_string(next) + ": more than a week");
      }
      series.bars.push_back({candle->first * 1000, candle->second.channels()});
      const float close = candle->second.close;
      for (std::int64_t start = candle->first + bucket_s; start < next; start += bucket_s, ++filled) {
        series.bars.push_back({start * 1000, Candle{close, close, close, close, 0}.channels()});
      }
    }
    series.source = std::to_string(series.bars.size()) + " completed bars of " + product_ + ", " +
                    std::to_string(filled) + " of them without trades, from " + std::to_string(messages_) +
                    " messages with candles; skipped: " + std::to_string(others_) + " other messages, " +
                    std::to_string(errors_) + " errors, " + std::to_string(unreadable_) + " unreadable lines";
    if (restarts_ > 0) {
      series.source += "; holes that made it begin anew: " + std::to_string(restarts_);
    }
    if (candles_.empty()) {
      series.source += "; products with candles:";
      for (const std::string& product : others_with_candles_) series.source += " " + product;
      if (others_with_candles_.empty()) series.source += " none";
    }
    return series;
  }

 private:
  struct Candle {
    float open = 0;
    float high = 0;
    float low = 0;
    float close = 0;
    float volume = 0;

    /// As candle_channels. The feed has no volume in dollars: the typical price stands for what was paid.
    std::vector<float> channels() const {
      const float typical = typical_price(high, low, close);
      return {open, high, low, close, volume, volume * typical, typical};
    }
  };

  /// Takes a whole message of the candles channel, or, when it is not as expected, nothing of it.
  bool add_candles(const simdjson::dom::object& message) {
    simdjson::dom::array events;
    if (message["events"].get(events) != simdjson::SUCCESS) return false;
    std::map<std::int64_t, Candle> fresh;
    bool snapshot = false;
    for (const simdjson::dom::element event : events) {
      std::string_view type;
      simdjson::dom::array candles;
      if (event["type"].get(type) != simdjson::SUCCESS || event["candles"].get(candles) != simdjson::SUCCESS) {
        return false;
      }
      snapshot = snapshot || type == "snapshot";
      for (const simdjson::dom::element entry : candles) {
        std::string_view product;
        if (entry["product_id"].get(product) != simdjson::SUCCESS) return false;
        if (product != product_) {
          others_with_candles_.emplace(product);
          continue;
        }
        std::int64_t start = 0;
        Candle candle;
        if (!read(entry, "start", start) || start < 0 || start >= year_10000_s || start % bucket_s != 0 ||
            !read(entry, "open", candle.open) || !read(entry, "high", candle.high) || !read(entry, "low", candle.low) ||
            !read(entry, "close", candle.close) || !read(entry, "volume", candle.volume)) {
          return false;
        }
        fresh.insert_or_assign(start, candle);
      }
    }
    // A snapshot follows a new connection. Unless it reaches back to the bucket that was open when the old one broke,
    // nobody knows what was traded between.
    if (snapshot && !fresh.empty() && !candles_.empty() && fresh.begin()->first > candles_.rbegin()->first) {
      candles_.clear();
      ++restarts_;
    }
    // The open bucket is sent again with each change: the last one counts.
    for (const auto& [start, candle] : fresh) candles_.insert_or_assign(start, candle);
    return true;
  }

  /// The feed's numbers are strings.
  template <typename Number>
  static bool read(const simdjson::dom::element& entry, std::string_view key, Number& number) {
    std::string_view text;
    return entry[key].get(text) == simdjson::SUCCESS && read_number(text, number) &&
           std::isfinite(static_cast<double>(number));
  }

  const std::string product_;
  std::map<std::int64_t, Candle> candles_;  // by start, in seconds
  std::set<std::string> others_with_candles_;
  std::size_t messages_ = 0;
  std::size_t others_ = 0;
  std::size_t errors_ = 0;
  std::size_t unreadable_ = 0;
  std::size_t restarts_ = 0;
  simdjson::dom::parser parser_;
};

/// Reads a capture: one raw message a line.
inline Series read_capture(const std::string& path, const std::string& product) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  CandleCapture capture(product);
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) capture.add(line);
  }
  return capture.series();
}

}  // namespace market
