// Candles from before the messages, given to the streams whose bars they make.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "candles_csv.h"
#include "vinocast/inference_engine.h"

namespace market {

/// Bars that a stream of the service keeps, and candles that it takes at once.
constexpr std::size_t kept_bars = 900;
constexpr std::size_t most_candles = 10'000;

/// Returns a reply that is a result; throws std::runtime_error, which says of what it is, for any other.
inline vinocast::Reply answered(vinocast::Reply&& reply, const std::string& what) {
  if (!reply.ok()) throw std::runtime_error(what + ": " + reply.error.message);
  return std::move(reply);
}

/// Gives a stream bars or candles, in as many requests as it takes; returns how many of them were used. Throws
/// std::runtime_error where they are refused.
inline std::uint64_t send_bars(vinocast::InferenceEngine& engine, const std::string& stream,
                               const std::vector<vinocast::Bar>& bars) {
  std::uint64_t used = 0;
  for (std::size_t first = 0; first < bars.size(); first += most_candles) {
    vinocast::HistoryRequest history;
    history.stream = stream;
    const auto begin = bars.begin() + static_cast<std::ptrdiff_t>(first);
    const auto count = static_cast<std::ptrdiff_t>(std::min(most_candles, bars.size() - first));
    history.bars.assign(begin, begin + count);
    used += answered(engine.history(history), "history of " + stream).counts.used;
  }
  return used;
}

/// What a stream has had of candles: how many of them, and the bars that the service has made of these.
struct Given {
  std::uint64_t used = 0;
  std::vector<vinocast::Bar> bars{};
};

/// Gives a stream the newest of some candles, as many as it keeps bars of. Their length is in seconds, as is that of
/// the bars, which is a multiple of it.
inline Given give_candles(vinocast::InferenceEngine& engine, const std::string& stream, std::int64_t bar_s,
                          const std::vector<vinocast::Bar>& candles, std::int64_t length_s) {
  const auto each = static_cast<std::size_t>(bar_s / length_s);
  const std::size_t count = std::min(candles.size(), kept_bars * each);
  Given given;
  given.used = send_bars(engine, stream, {candles.end() - static_cast<std::ptrdiff_t>(count), candles.end()});
  vinocast::BarsRequest request;
  request.stream = stream;
  given.bars = answered(engine.bars(request), "bars of " + stream).bars;
  // The newest is as whole as its candle, but where it is to be made of several.
  if (each > 1 && !given.bars.empty()) given.bars.pop_back();
  return given;
}

}  // namespace market
