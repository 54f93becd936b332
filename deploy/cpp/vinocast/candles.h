// Bars from raw messages of Coinbase's Advanced Trade feed: what its channel `candles` says, put in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "floats.h"

namespace vinocast {

enum class BarState {
  complete,
  missing,  ///< the feed has left it out, which it also does with buckets that had trades
  open,     ///< the newest one: it still changes
};

/// What was traded in one bucket of time. Of a missing one nothing is known; its numbers are the close before and no
/// volume, for whoever goes on with that.
struct Bar {
  std::int64_t start_s = 0;  ///< unix seconds
  double open = 0;
  double high = 0;
  double low = 0;
  double close = 0;
  double volume = 0;
  BarState state = BarState::complete;
};

/// What CandleBars was given.
struct CandleCounts {
  std::size_t used = 0;                   ///< messages with candles
  std::size_t ignored = 0;                ///< messages of other channels, or of no known type
  std::size_t errors = 0;                 ///< the feed's error messages
  std::size_t refused = 0;                ///< messages that are no JSON, or have a candle that cannot be
  std::size_t re_sent_closed_bucket = 0;  ///< updates of a bar that had been complete
  std::size_t restarts = 0;               ///< snapshots with a hole before them, at which the bars begin anew
};

/// Gathers the candles of one product, in the order in which their messages came.
class CandleBars {
 public:
  static constexpr std::int64_t bucket_s = 300;

  /// Keeps the newest `keep` candles.
  explicit CandleBars(std::string product, std::size_t keep = 100'000) : product_(std::move(product)), keep_(keep) {}

  /// Takes one message, whole, or refuses it whole.
  void add(std::string_view message) {
    simdjson::dom::object object;
    std::string_view text;
    if (parser_.parse(message.data(), message.size()).get(object) != simdjson::SUCCESS) {
      ++counts_.refused;
    } else if (object["channel"].get(text) == simdjson::SUCCESS && text == "candles") {
      ++(add_candles(object) ? counts_.used : counts_.refused);
    } else if (object["type"].get(text) == simdjson::SUCCESS && text == "error") {
      ++counts_.errors;
    } else {
      ++counts_.ignored;
    }
  }

  /// The bars that start after `after_s`, oldest first, without a hole; the last one is open.
  std::vector<Bar> bars(std::int64_t after_s = -1) const {
    std::vector<Bar> bars;
    auto candle = candles_.upper_bound(after_s);
    if (candle != candles_.begin()) --candle;  // what a hole behind it is filled with
    for (; candle != candles_.end(); ++candle) {
      Bar bar = candle->second;
      const auto next = std::next(candle);
      bar.state = next == candles_.end() ? BarState::open : BarState::complete;
      if (bar.start_s > after_s) bars.push_back(bar);
      if (next == candles_.end()) break;
      bar = {bar.start_s + bucket_s, bar.close, bar.close, bar.close, bar.close, 0, BarState::missing};
      for (; bar.start_s < next->first; bar.start_s += bucket_s) {
        if (bar.start_s > after_s) bars.push_back(bar);
      }
    }
    return bars;
  }

  const CandleCounts& counts() const noexcept { return counts_; }
  /// Other products that candles came of, a hundred at most.
  const std::set<std::string>& other_products() const noexcept { return other_products_; }

 private:
  using Candles = std::map<std::int64_t, Bar>;  // by start

  bool add_candles(const simdjson::dom::object& message) {
    simdjson::dom::array events;
    if (message["events"].get(events) != simdjson::SUCCESS) return false;
    Candles fresh;
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
        if (product == product_) {
          Bar bar;
          if (!read(entry, bar)) return false;
          fresh.insert_or_assign(bar.start_s, bar);
        } else if (other_products_.size() < 100) {
          other_products_.emplace(product);
        }
      }
    }
    return fresh.empty() || take(fresh, snapshot);
  }

  bool take(const Candles& fresh, bool snapshot) {
    // A snapshot follows a new connection. Unless it reaches back to the bucket that was open when the old one broke,
    // nobody knows what was traded between.
    const bool anew = snapshot && !candles_.empty() && fresh.begin()->first > candles_.rbegin()->first;
    if (leaves_out_too_much(fresh, anew)) return false;
    if (anew) {
      candles_.clear();
      ++counts_.restarts;
    }
    // The open bucket is sent again with each change: the last one counts.
    const std::int64_t newest = candles_.empty() ? -1 : candles_.rbegin()->first;
    for (const auto& [start, bar] : fresh) {
      if (!snapshot && start < newest) ++counts_.re_sent_closed_bucket;
      candles_.insert_or_assign(start, bar);
    }
    while (candles_.size() > keep_) candles_.erase(candles_.begin());
    return true;
  }

  /// So long without a trade is a wrong clock or another market, and bars would be made up by the thousand.
  bool leaves_out_too_much(const Candles& fresh, bool anew) const {
    constexpr std::int64_t longest_silence_s = 7 * 24 * 3600;
    std::int64_t before = anew || candles_.empty() ? fresh.begin()->first : candles_.rbegin()->first;
    for (const auto& [start, bar] : fresh) {
      if (start - before > longest_silence_s) return true;
      before = start;
    }
    return false;
  }

  static bool read(const simdjson::dom::element& entry, Bar& bar) {
    constexpr std::int64_t year_10000_s = 253'402'300'800;
    return read(entry, "start", bar.start_s) && bar.start_s >= 0 && bar.start_s < year_10000_s &&
           bar.start_s % bucket_s == 0 && read(entry, "open", bar.open) && read(entry, "high", bar.high) &&
           read(entry, "low", bar.low) && read(entry, "close", bar.close) && read(entry, "volume", bar.volume) &&
           bar.volume >= 0;
  }

  /// The feed's numbers are strings.
  template <typename Number>
  static bool read(const simdjson::dom::element& entry, std::string_view key, Number& number) {
    std::string_view text;
    return entry[key].get(text) == simdjson::SUCCESS && read_number(text, number);
  }

  const std::string product_;
  const std::size_t keep_;
  Candles candles_;
  std::set<std::string> other_products_;
  CandleCounts counts_;
  simdjson::dom::parser parser_;
};

}  // namespace vinocast
