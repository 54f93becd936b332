// How many raw messages a second go through the client and the service into bars, and how long after the message that
// closes a bar its forecast is there.
//
//     feed_rate [MESSAGES] [BARS]       (100000 messages, 300 bars unless said)
//
// VINOCAST_PROGRAM names the service's program. A message is that of one trade, as Coinbase's Advanced Trade feed sends
// it, some 300 bytes. The figures are those of this process and the service together, parsing and the pipes included.
// "added" is the time from the call of feed() to the forecast's arrival, less the reply's inference time. Meant for a
// quiet machine.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../examples/times.h"
#include "vinocast/inference_engine.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t begin_s = 1'772'600'400;

/// Trades of one product, one a message, `per_second` of them a second by the exchange's time.
class Trades {
 public:
  explicit Trades(std::int64_t per_second) : per_second_(per_second) {}

  std::string next() {
    const std::string time = market::time_text(begin_s + count_ / per_second_);
    const std::string fraction = std::to_string(1000 + count_ % per_second_ * 1000 / per_second_).substr(1);
    const std::string stamp = time.substr(0, time.size() - 1) + "." + fraction + "000Z";
    const std::string price = std::to_string(65'000 + count_ % 97) + ".25";
    std::string message = R"({"channel":"market_trades","timestamp":")" + stamp + R"(","sequence_num":)" +
                          std::to_string(count_) + R"(,"events":[{"type":"update","trades":[{"product_id":"BTC-USD",)" +
                          R"("trade_id":")" + std::to_string(1'000'000 + count_) + R"(","price":")" + price +
                          R"(","size":"0.00218600","time":")" + stamp + R"(","side":"BUY"}]}]})";
    ++count_;
    return message;
  }

 private:
  const std::int64_t per_second_;
  std::int64_t count_ = 0;
};

vinocast::Options options_with(const char* bar) {
  vinocast::Options options;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) options.program = program;
  options.arguments = {"--bars", bar};
  options.timeout = std::chrono::seconds(30);
  return options;
}

void expect(const vinocast::Reply& reply) {
  if (!reply.ok()) throw std::runtime_error(reply.error.code + ": " + reply.error.message);
}

/// Feeds all messages, `batch` a request and up to `in_flight` requests at once; returns messages a second.
double rate(const std::vector<std::string>& messages, std::size_t batch, std::size_t in_flight) {
  vinocast::InferenceEngine engine(options_with("5m"));
  std::mutex mutex;
  std::condition_variable answered;
  std::size_t waiting = 0;
  vinocast::FeedCounts counts;
  const auto done = [&](vinocast::Reply&& reply) {
    const std::lock_guard<std::mutex> lock(mutex);
    counts += reply.counts;
    --waiting;
    answered.notify_one();
  };
  const auto start = Clock::now();
  for (std::size_t i = 0; i < messages.size(); i += batch) {
    vinocast::FeedRequest request;
    if (batch == 1) {
      request.message = messages[i];
    } else {
      request.messages.assign(messages.begin() + static_cast<std::ptrdiff_t>(i),
                              messages.begin() + static_cast<std::ptrdiff_t>(std::min(i + batch, messages.size())));
    }
    {
      std::unique_lock<std::mutex> lock(mutex);
      answered.wait(lock, [&] { return waiting < in_flight; });
      ++waiting;
    }
    engine.feed(request, done);
  }
  std::unique_lock<std::mutex> lock(mutex);
  answered.wait(lock, [&] { return waiting == 0; });
  const std::chrono::duration<double> passed = Clock::now() - start;
  if (counts.seen != messages.size() || counts.refused > 0) {
    throw std::runtime_error("of " + std::to_string(messages.size()) + " messages " + std::to_string(counts.seen) +
                             " were seen");
  }
  return static_cast<double>(messages.size()) / passed.count();
}

/// Each trade closes a bar of a second; prints how long after it the forecast is there.
void latency(std::size_t bars) {
  std::mutex mutex;
  std::condition_variable came;
  vinocast::Reply pushed;
  Clock::time_point at;
  std::size_t count = 0;
  vinocast::Options options = options_with("1s");
  options.on_forecast = [&](vinocast::Reply&& forecast) {
    const std::lock_guard<std::mutex> lock(mutex);
    at = Clock::now();
    pushed = std::move(forecast);
    ++count;
    came.notify_one();
  };
  vinocast::InferenceEngine engine(options);
  vinocast::HistoryRequest history;
  history.stream = "BTC-USD@1s";
  for (std::int64_t second = begin_s - 900; second < begin_s; ++second) {
    const double price = 65'000 + static_cast<double>(second % 31);
    history.bars.push_back({second, price, price + 2, price - 2, price + 1, 3, vinocast::BarState::complete});
  }
  expect(engine.history(history));
  Trades trades(1);
  vinocast::FeedRequest request;
  request.on_bar.emplace().targets = {"close"};
  std::vector<double> whole;
  std::vector<double> added;
  std::size_t expected = 0;
  for (std::size_t i = 0; i <= bars; ++i) {
    const std::string message = trades.next();
    request.message = message;
    const auto start = Clock::now();
    const vinocast::Reply reply = engine.feed(request);
    expect(reply);
    expected += reply.closed.size();
    std::unique_lock<std::mutex> lock(mutex);
    if (!came.wait_for(lock, std::chrono::seconds(30), [&] { return count == expected; })) {
      throw std::runtime_error("no forecast was pushed");
    }
    if (i <= bars / 10) continue;
    expect(pushed);
    const std::chrono::duration<double, std::milli> passed = at - start;
    whole.push_back(passed.count());
    added.push_back(passed.count() - pushed.inference_ms);
  }
  std::sort(whole.begin(), whole.end());
  std::sort(added.begin(), added.end());
  const auto quantile = [](const std::vector<double>& values, double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  std::printf("close to forecast: p50 %.3f ms, p99 %.3f ms; added p50 %.3f ms, p99 %.3f ms\n", quantile(whole, 0.5),
              quantile(whole, 0.99), quantile(added, 0.5), quantile(added, 0.99));
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const auto number = [&](int place, std::size_t otherwise) {
      return count > place ? static_cast<std::size_t>(std::max(10, std::atoi(arguments[place]))) : otherwise;
    };
    Trades trades(20);
    std::vector<std::string> messages(number(1, 100'000));
    for (std::string& message : messages) message = trades.next();
    const std::pair<std::size_t, std::size_t> ways[] = {{1, 1}, {1, 32}, {10, 8}, {100, 4}};
    for (const auto& [batch, in_flight] : ways) {
      std::printf("%4zu messages a request, %2zu in flight: %9.0f messages/s\n", batch, in_flight,
                  rate(messages, batch, in_flight));
    }
    latency(number(2, 300));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "feed_rate: %s\n", error.what());
    return 1;
  }
}
