// Candles from a CSV, whatever its columns are called and wherever they stand.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "times.h"
#include "vinocast/floats.h"
#include "vinocast/market.h"

namespace market {

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

inline std::string in_lower_case(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return text;
}

/// Where the numbers of candles stand in a CSV.
struct Columns {
  std::vector<std::size_t> times{};   // of which the first that can be read counts
  std::vector<std::size_t> prices{};  // open, high, low, close
  std::size_t volume = 0;             // in coins
};

/// Finds candles by the names of a header, in any case and any order; false where a name is missing. Of two volumes the
/// one in coins is taken: the first, unless its name has the dollars in it.
inline bool find_candles(const std::vector<std::string>& header, Columns& found) {
  const std::vector<std::string> prices{"open", "high", "low", "close"};
  const std::vector<std::string> times{"unix", "unix timestamp", "date", "time", "timestamp"};
  found.prices.assign(prices.size(), header.size());
  std::vector<std::size_t> volumes;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const std::string name = in_lower_case(header[i]);
    const auto price = std::find(prices.begin(), prices.end(), name);
    if (price != prices.end()) {
      found.prices[static_cast<std::size_t>(price - prices.begin())] = i;
    } else if (name.rfind("volume", 0) == 0) {
      volumes.push_back(i);
    } else if (std::find(times.begin(), times.end(), name) != times.end() || (i == 0 && name != "symbol")) {
      found.times.push_back(i);
    }
  }
  const bool whole = std::find(found.prices.begin(), found.prices.end(), header.size()) == found.prices.end();
  if (!whole || found.times.empty() || volumes.empty()) return false;
  const bool dollars_first = volumes.size() > 1 && in_lower_case(header[volumes[0]]).find("usd") != std::string::npos;
  found.volume = volumes[dollars_first ? 1 : 0];
  return true;
}

/// Whether there is something to read in a file, or its end: a folder can be opened as well.
inline bool can_be_read(std::ifstream& file) {
  file.peek();
  return file.is_open() && !file.bad();
}

/// Reads a CSV of candles, whose rows may stand in any order, as bars in the order of time. Of rows with the same time
/// the one that stands first in the file is kept. times.h says how times are written. A first line that is an address
/// is passed over, as CryptoDataDownload puts one there. The header has open, high, low, close, a volume and, beside
/// them, a time: unix, date, time or timestamp, or whatever stands first. Other columns are passed over. Throws
/// std::runtime_error, which says where the fault is.
inline std::vector<vinocast::Bar> read_candles(const std::string& path) {
  std::ifstream file(path);
  if (!can_be_read(file)) throw std::runtime_error("cannot read " + path);
  std::vector<vinocast::Bar> bars;
  std::size_t lines = 0;
  std::vector<std::string> header;
  Columns columns;
  const auto wrong = [&](const std::string& expected, const std::string& got) {
    constexpr std::size_t shown = 100;
    return std::runtime_error(path + ", line " + std::to_string(lines) + ": expected " + expected + ", got '" +
                              got.substr(0, shown) + (got.size() > shown ? "…'" : "'"));
  };
  for (std::string text; std::getline(file, text);) {
    if (++lines == 1 && text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);  // a byte order mark
    const std::vector<std::string> cells = cells_of(text);
    // The banner names its site, in the first cell or in the last.
    if (lines == 1 && (cells.front().rfind("http", 0) == 0 || cells.back().rfind("http", 0) == 0)) continue;
    if (header.empty()) {
      header = cells;
      if (!find_candles(header, columns)) {
        throw wrong("a header of candles: a time, open, high, low, close and volume", text);
      }
      continue;
    }
    if (cells.size() != header.size()) {
      throw wrong(std::to_string(header.size()) + " cells", std::to_string(cells.size()));
    }
    const auto number = [&](std::size_t i) {
      double value = 0;
      if (!vinocast::read_number(cells[i], value)) throw wrong("a number in the column " + header[i], cells[i]);
      return value;
    };
    std::int64_t time_ms = 0;
    if (std::none_of(columns.times.begin(), columns.times.end(),
                     [&](std::size_t i) { return read_time(cells[i], time_ms); })) {
      throw wrong("a time like 2026-11-25T03:57:27Z, 2019-10-17 09-AM, or seconds or milliseconds since 1970",
                  cells[columns.times[0]]);
    }
    const std::vector<std::size_t>& at = columns.prices;
    bars.push_back({time_ms / 1000, number(at[0]), number(at[1]), number(at[2]), number(at[3]), number(columns.volume),
                    vinocast::BarState::complete});
  }
  const auto earlier = [](const auto& one, const auto& other) { return one.start_s < other.start_s; };
  const auto same = [](const auto& one, const auto& other) { return one.start_s == other.start_s; };
  std::stable_sort(bars.begin(), bars.end(), earlier);
  bars.erase(std::unique(bars.begin(), bars.end(), same), bars.end());
  return bars;
}

/// How many seconds long candles are, as far as two of them stand next to each other; 0 for fewer than two.
inline std::int64_t length_of(const std::vector<vinocast::Bar>& bars) {
  std::int64_t step_s = 0;
  for (std::size_t i = 1; i < bars.size(); ++i) {
    const std::int64_t step = bars[i].start_s - bars[i - 1].start_s;
    if (step_s == 0 || step < step_s) step_s = step;
  }
  return step_s;
}

}  // namespace market
