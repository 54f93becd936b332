// Bars as rows of channels: from a CSV, from the feed's bars, or from one after the other.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "times.h"
#include "vinocast/candles.h"

namespace market {

struct Row {
  std::int64_t timestamp_ms = 0;  // of the bar's beginning
  std::vector<float> values{};
};

/// Rows in ascending order of time.
struct Series {
  std::vector<std::string> names{};  // of the channels
  std::vector<Row> rows{};
  std::size_t lines = 0;    // of the file
  std::size_t missing = 0;  // rows that stand for bars of which the feed said nothing
  std::size_t holes = 0;    // between the rows and the feed's next bars, at which the series began anew
};

/// The channels of candles, named as in CryptoDataDownload's files: the volume in coins comes before that in dollars.
inline const std::vector<std::string> candle_channels{"open",       "high",   "low",    "close",
                                                      "volume_btc", "volume", "typical"};

inline float typical_price(float high, float low, float close) { return (high + low + close) / 3; }

/// As candle_channels. Without a volume in dollars the typical price stands for what was paid.
inline std::vector<float> channels_of(float open, float high, float low, float close, float volume) {
  const float typical = typical_price(high, low, close);
  return {open, high, low, close, volume, volume * typical, typical};
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

/// Reads one of three kinds of CSV, whose rows may stand in any order. Of rows with the same time the one that stands
/// first in the file is kept. times.h says how times are written.
///   * candles as CryptoDataDownload publishes them: a banner line, then `date,symbol,open,high,low,close,volume_btc,
///     volume`. The typical price is added.
///   * candles under `TIME,open,high,low,close,volume`, however the first column is called and in any case. The volume
///     in dollars and the typical price are added.
///   * anything else with a header line: `TIME,c1,…,cN`.
inline Series read_csv(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Series series;
  std::string text;
  enum { plain, candles, published_candles } kind = plain;
  std::size_t columns = 0;
  const auto wrong = [&](const std::string& expected, const std::string& got) {
    return std::runtime_error(path + ", line " + std::to_string(series.lines) + ": expected " + expected + ", got '" +
                              got + "'");
  };
  while (std::getline(file, text)) {
    if (++series.lines == 1 && text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);  // a byte order mark
    const std::vector<std::string> cells = cells_of(text);
    if (series.lines == 1 && cells.back().rfind("http", 0) == 0) continue;  // the banner names its site
    if (columns == 0) {
      columns = cells.size();
      std::vector<std::string> names(cells.begin() + 1, cells.end());
      for (std::string& name : names) {
        for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
      }
      if (names == std::vector<std::string>{"open", "high", "low", "close", "volume"}) kind = candles;
      if (columns == 8 && cells[0] == "date" && cells[1] == "symbol") kind = published_candles;
      series.names = kind == plain ? std::vector<std::string>(cells.begin() + 1, cells.end()) : candle_channels;
      continue;
    }
    if (cells.size() != columns) {
      throw wrong(std::to_string(columns) + " cells", std::to_string(cells.size()));
    }
    Row row;
    if (!read_time(cells[0], row.timestamp_ms)) {
      throw wrong("a time like 2026-11-25T03:57:27Z, 2019-10-17 09-AM, or seconds or milliseconds since 1970",
                  cells[0]);
    }
    for (std::size_t i = kind == published_candles ? 2 : 1; i < columns; ++i) {
      if (!vinocast::read_number(cells[i], row.values.emplace_back())) throw wrong("a number", cells[i]);
    }
    const std::vector<float>& values = row.values;
    if (kind == candles) row.values = channels_of(values[0], values[1], values[2], values[3], values[4]);
    if (kind == published_candles) row.values.push_back(typical_price(values[1], values[2], values[3]));
    series.rows.push_back(std::move(row));
  }
  const auto earlier = [](const Row& one, const Row& other) { return one.timestamp_ms < other.timestamp_ms; };
  const auto same = [](const Row& one, const Row& other) { return one.timestamp_ms == other.timestamp_ms; };
  std::stable_sort(series.rows.begin(), series.rows.end(), earlier);
  series.rows.erase(std::unique(series.rows.begin(), series.rows.end(), same), series.rows.end());
  return series;
}

/// Throws unless the feed's bars can go on where a history ends.
inline void check_history(const Series& history, const std::string& path) {
  if (history.names != candle_channels) {
    throw std::runtime_error(path +
                             ": before a capture stands a CSV of candles, with the columns open, high, low, "
                             "close and volume behind the time");
  }
  std::int64_t step_ms = 0;
  for (std::size_t i = 1; i < history.rows.size(); ++i) {
    const std::int64_t step = history.rows[i].timestamp_ms - history.rows[i - 1].timestamp_ms;
    if (step_ms == 0 || step < step_ms) step_ms = step;
  }
  constexpr std::int64_t wanted_ms = vinocast::CandleBars::bucket_s * 1000;
  if (step_ms != 0 && step_ms != wanted_ms) {
    throw std::runtime_error(path + ": its bars are " + std::to_string(step_ms / 1000) +
                             " s long, the candles of a capture " + std::to_string(wanted_ms / 1000) + " s");
  }
}

/// Appends the feed's bars that are complete and newer than the series. A missing bar becomes a row with the close
/// before and no volume. Where a bar does not follow the last row, nobody knows what was traded between: the series
/// begins anew. Returns the number of rows appended.
inline std::size_t append(Series& series, const vinocast::CandleBars& feed) {
  constexpr std::int64_t bucket_ms = vinocast::CandleBars::bucket_s * 1000;
  std::size_t appended = 0;
  for (const vinocast::Bar& bar : feed.bars(series.rows.empty() ? -1 : series.rows.back().timestamp_ms / 1000)) {
    if (bar.state == vinocast::BarState::open) break;
    const std::int64_t start_ms = bar.start_s * 1000;
    if (!series.rows.empty() && start_ms != series.rows.back().timestamp_ms + bucket_ms) {
      series.rows.clear();
      series.missing = 0;
      ++series.holes;
    }
    series.missing += bar.state == vinocast::BarState::missing ? 1 : 0;
    series.rows.push_back(
        {start_ms, channels_of(static_cast<float>(bar.open), static_cast<float>(bar.high), static_cast<float>(bar.low),
                               static_cast<float>(bar.close), static_cast<float>(bar.volume))});
    ++appended;
  }
  return appended;
}

}  // namespace market
