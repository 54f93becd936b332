// Bars as rows of channels: from a CSV, from the feed's bars, or from one after the other.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
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
constexpr std::size_t dollars = 5;  // which of them is the volume in dollars

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

/// Where the channels of candles stand in a CSV.
struct Columns {
  std::vector<std::size_t> times{};    // of which the first that can be read counts
  std::vector<std::size_t> prices{};   // open, high, low, close
  std::vector<std::size_t> volumes{};  // in coins and, if there are two, in dollars
};

inline std::string in_lower_case(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return text;
}

/// Finds candles by the names of a header, in any case; nothing where a name is none of theirs, or one is missing.
inline std::optional<Columns> find_candles(const std::vector<std::string>& header) {
  const std::vector<std::string> prices{"open", "high", "low", "close"};
  const std::vector<std::string> beside{"symbol", "tradecount", "vwap"};
  const std::vector<std::string> times{"unix", "unix timestamp", "date", "time", "timestamp"};
  const auto among = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  Columns found;
  found.prices.assign(prices.size(), header.size());
  for (std::size_t i = 0; i < header.size(); ++i) {
    const std::string name = in_lower_case(header[i]);
    const auto price = std::find(prices.begin(), prices.end(), name);
    if (price != prices.end()) {
      found.prices[static_cast<std::size_t>(price - prices.begin())] = i;
    } else if (name.rfind("volume", 0) == 0) {
      found.volumes.push_back(i);
    } else if (among(times, name) || (i == 0 && !among(beside, name))) {
      found.times.push_back(i);
    } else if (!among(beside, name)) {
      return std::nullopt;
    }
  }
  const bool whole = std::find(found.prices.begin(), found.prices.end(), header.size()) == found.prices.end();
  if (!whole || found.times.empty() || found.volumes.empty() || found.volumes.size() > 2) return std::nullopt;
  if (in_lower_case(header[found.volumes[0]]).find("usd") != std::string::npos) {
    std::reverse(found.volumes.begin(), found.volumes.end());
  }
  return found;
}

/// Reads a CSV, whose rows may stand in any order. Of rows with the same time the one that stands first in the file is
/// kept. times.h says how times are written. A first line that is an address is passed over, as CryptoDataDownload puts
/// one there.
///   * Candles have the columns open, high, low, close and volume and, beside them, at least one of unix, date, time
///   and
///     timestamp; symbol, tradecount and vwap are passed over, a second volume is that in dollars. The names may be in
///     any case and any order, and the time may have any name where it stands first. The typical price is added and,
///     where there is one volume alone, that in dollars.
///   * Anything else is a time, and a channel in each column behind it.
inline Series read_csv(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Series series;
  std::string text;
  std::vector<std::string> header;
  std::optional<Columns> candles;
  const auto wrong = [&](const std::string& expected, const std::string& got) {
    return std::runtime_error(path + ", line " + std::to_string(series.lines) + ": expected " + expected + ", got '" +
                              got + "'");
  };
  const auto number = [&](const std::vector<std::string>& cells, std::size_t i) {
    float value = 0;
    if (vinocast::read_number(cells[i], value)) return value;
    throw std::runtime_error(wrong("a number", cells[i]).what() + (" in the column " + header[i]) +
                             (candles ? ""
                                      : "; its header is not that of candles (a time, open, high, low, close and "
                                        "volume, with or without symbol and tradecount), so each column behind the "
                                        "first is a channel"));
  };
  while (std::getline(file, text)) {
    if (++series.lines == 1 && text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);  // a byte order mark
    const std::vector<std::string> cells = cells_of(text);
    // The banner names its site, in the first cell or in the last.
    if (series.lines == 1 && (cells.front().rfind("http", 0) == 0 || cells.back().rfind("http", 0) == 0)) continue;
    if (header.empty()) {
      header = cells;
      candles = find_candles(header);
      series.names = candles ? candle_channels : std::vector<std::string>(cells.begin() + 1, cells.end());
      continue;
    }
    if (cells.size() != header.size()) {
      throw wrong(std::to_string(header.size()) + " cells", std::to_string(cells.size()));
    }
    Row row;
    const std::vector<std::size_t> times = candles ? candles->times : std::vector<std::size_t>{0};
    if (std::none_of(times.begin(), times.end(),
                     [&](std::size_t i) { return read_time(cells[i], row.timestamp_ms); })) {
      throw wrong("a time like 2026-11-25T03:57:27Z, 2019-10-17 09-AM, or seconds or milliseconds since 1970",
                  cells[times[0]]);
    }
    if (candles) {
      const std::vector<std::size_t>& at = candles->prices;
      row.values = channels_of(number(cells, at[0]), number(cells, at[1]), number(cells, at[2]), number(cells, at[3]),
                               number(cells, candles->volumes[0]));
      if (candles->volumes.size() == 2) row.values[dollars] = number(cells, candles->volumes[1]);
    } else {
      for (std::size_t i = 1; i < cells.size(); ++i) row.values.push_back(number(cells, i));
    }
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
