// A forecast a bar from raw market messages, as a stream processor would have it. `stream_processor --help` says what
// it takes.
//
// The service makes the bars: each message is handed to it as it came, and a bar that closes has a forecast pushed.
// When the service has been restarted its streams are gone: they get their bars again, and go on.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arguments.h"
#include "history.h"
#include "pushed.h"
#include "times.h"
#include "vinocast/inference_engine.h"

namespace {

using Clock = std::chrono::steady_clock;
using market::Arguments;
using vinocast::Bar;
using vinocast::BarState;
using vinocast::ClosedBar;
using vinocast::FeedCounts;
using vinocast::Reply;

constexpr int nothing_forecast = 2;

class Processor {
 public:
  explicit Processor(const Arguments& arguments) : arguments_(arguments), engine_(options_of(arguments)) {
    request_.connected = true;
    vinocast::BarForecast& wanted = request_.on_bar.emplace();
    wanted.targets = {arguments.target};
    wanted.quantile_levels = {(1 - arguments.band) / 2, (1 + arguments.band) / 2};
    wanted.prediction_length = 1;
    wanted.interpolate = true;
    wanted.model = arguments.model;
    for (const std::string& product : arguments.products) {
      for (const std::string& bar : arguments.bars) streams_[product + "@" + bar];
    }
  }

  /// Gives the streams of a product the candles from before the messages, where these make their bars. Throws
  /// std::runtime_error where they make none.
  void give_history(const std::string& product, const std::vector<Bar>& candles, const std::string& path) {
    const std::int64_t length_s = market::length_of(candles);
    bool given = false;
    for (const std::string& bar : arguments_.bars) {
      const std::int64_t bar_s = market::bar_seconds(bar);
      if (length_s > 0 && bar_s % length_s != 0) continue;
      const std::string name = product + "@" + bar;
      const market::Given made = market::give_candles(engine_, name, bar_s, candles, length_s > 0 ? length_s : bar_s);
      for (const Bar& each : made.bars) keep(name, each);
      streams_[name].given += made.used;
      given = true;
    }
    if (!given) {
      throw std::runtime_error(path + ": its candles of " + std::to_string(length_s) +
                               " s make none of the bars of --bars " + joined(arguments_.bars));
    }
  }

  /// Feeds one message, and prints what came of it.
  void take(const std::string& message) {
    ++lines_;
    if (message.find_first_not_of(" \t\r") == std::string::npos) {
      ++blank_;
      return;
    }
    const Clock::time_point start = Clock::now();
    const Reply reply = feed(message);
    if (!reply.ok()) {
      std::fprintf(stderr, "line %zu: %s: %s\n", lines_, reply.error.code.c_str(), reply.error.message.c_str());
      ++counts_.seen;
      ++(reply.outcome == vinocast::Outcome::service_error ? counts_.refused : unanswered_);
      return;
    }
    counts_ += reply.counts;
    used_ += reply.counts.used;
    const auto time_ms = reply.closed.empty() ? std::nullopt : market::time_of(message);
    for (const ClosedBar& closed : reply.closed) {
      const market::Pushed pushed = mailbox_.take(closed.stream, closed.bar.start_s, engine_timeout, given_up_);
      keep(closed.stream, closed.bar);
      Stream& stream = streams_[closed.stream];
      // A service that has been given its bars again closes the newest of them again.
      if (stream.newest_s && closed.bar.start_s <= *stream.newest_s) continue;
      stream.newest_s = closed.bar.start_s;
      ++stream.closed[static_cast<std::size_t>(closed.bar.state)];
      print(closed, pushed, time_ms, start);
    }
    if (!reply.closed.empty()) mailbox_.end_request();
  }

  static void print_head() {
    std::printf("%-20s %-16s %-10s %14s %14s %14s %14s %9s %11s\n", "bar", "stream", "state", "close", "forecast",
                "from", "to", "age s", "latency ms");
  }

  /// Says what became of the messages; returns the exit code.
  int summarize() {
    const FeedCounts& all = counts_;
    std::printf(
        "\n%zu lines, %zu blank; messages: %llu seen, %llu used, %llu ignored, %llu errors, %llu refused, "
        "%llu missed, %llu unanswered\n",
        lines_, blank_, number(all.seen), number(all.seen - all.ignored - all.errors - all.refused - unanswered_),
        number(all.ignored), number(all.errors), number(all.refused), number(all.missed_messages), number(unanswered_));
    std::map<std::string, std::uint64_t> in_streams;  // by product, as each trade is in bars of every length
    for (const auto& [name, stream] : streams_) {
      vinocast::BarsRequest request;
      request.stream = name;
      request.last = 1;
      const Reply reply = engine_.bars(request);
      std::printf("%s:", name.c_str());
      for (const BarState state : {BarState::complete, BarState::filled, BarState::incomplete, BarState::missing}) {
        std::printf(" %llu %s,", number(stream.closed[static_cast<std::size_t>(state)]), to_string(state));
      }
      std::printf(" %llu forecast", number(stream.forecast));
      if (!reply.ok()) std::printf("; %s", reply.error.message.c_str());
      for (const auto& [count, member] : FeedCounts::all) {
        if (reply.counts.*member > 0)
          std::printf("; %s %llu", std::string(count).c_str(), number(reply.counts.*member));
      }
      std::printf("\n");
      std::uint64_t& used = in_streams[name.substr(0, name.rfind('@'))];
      used = std::max(used, reply.counts.used - std::min(reply.counts.used, stream.given));
    }
    const std::uint64_t all_in_streams =
        std::accumulate(in_streams.begin(), in_streams.end(), std::uint64_t{0},
                        [](std::uint64_t sum, const auto& one) { return sum + one.second; });
    if (engine_.counters().restarts == 0 && used_ > all_in_streams) {
      std::printf("%llu trades or candles are of streams of which no bar has closed; --product has them named\n",
                  number(used_ - all_in_streams));
    }
    engine_.close();
    return std::any_of(streams_.begin(), streams_.end(), [](const auto& one) { return one.second.forecast > 0; })
               ? 0
               : nothing_forecast;
  }

 private:
  struct Stream {
    std::map<std::int64_t, Bar> bars{};      // by start; the newest that have closed
    std::optional<std::int64_t> newest_s{};  // of those that were printed
    std::uint64_t closed[5] = {};            // by state
    std::uint64_t forecast = 0;
    std::uint64_t given = 0;  // of the trades and candles that it has used: those that were no messages
  };

  static unsigned long long number(std::uint64_t value) { return value; }

  vinocast::Options options_of(const Arguments& arguments) {
    vinocast::Options options = arguments.options;
    options.timeout = engine_timeout;
    options.arguments.insert(options.arguments.end(), {"--bars", joined(arguments.bars)});
    if (!arguments.products.empty()) {
      options.arguments.insert(options.arguments.end(), {"--products", joined(arguments.products)});
    }
    options.on_forecast = [this](Reply&& forecast) { mailbox_.put(std::move(forecast)); };
    options.on_event = [this](const vinocast::Event& event) {
      std::fprintf(stderr, "%s\n", event.message.c_str());
      if (event.kind != vinocast::Event::Kind::died) return;
      mailbox_.give_up();
      bars_are_gone_ = true;
    };
    return options;
  }

  static std::string joined(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& text : texts) all += (all.empty() ? "" : ",") + text;
    return all;
  }

  void keep(const std::string& name, const Bar& bar) {
    std::map<std::int64_t, Bar>& bars = streams_[name].bars;
    bars.insert_or_assign(bar.start_s, bar);
    if (bars.size() > market::kept_bars) bars.erase(bars.begin());
  }

  /// Feeds a message, again where the service has died with it.
  Reply feed(const std::string& message) {
    request_.message = message;
    for (;;) {
      if (bars_are_gone_.exchange(false)) {
        for (auto& [name, stream] : streams_) {
          std::vector<Bar> bars;
          for (const auto& [start, bar] : stream.bars) bars.push_back(bar);
          stream.given += market::send_bars(engine_, name, bars);
        }
        request_.connected = true;
      }
      // Before the message goes out: the service may end as soon as it has answered.
      given_up_ = mailbox_.given_up();
      Reply reply = engine_.feed(request_);
      if (reply.outcome == vinocast::Outcome::lost) continue;
      if (reply.outcome == vinocast::Outcome::unavailable) throw std::runtime_error(reply.error.message);
      request_.connected = false;
      return reply;
    }
  }

  void print(const ClosedBar& closed, const market::Pushed& pushed, std::optional<std::int64_t> time_ms,
             Clock::time_point start) {
    std::printf("%-20s %-16s %-10s %14.8g ", market::time_text(closed.bar.start_s).c_str(), closed.stream.c_str(),
                to_string(closed.bar.state), closed.bar.close);
    if (!pushed.forecast.ok()) {
      std::printf("no forecast: %s\n", pushed.forecast.error.message.c_str());
    } else {
      ++streams_[closed.stream].forecast;
      const Reply& forecast = pushed.forecast;
      for (const std::string& warning : forecast.warnings) {
        const std::string text = closed.stream + ": " + warning;
        if (warnings_.insert(text).second) std::fprintf(stderr, "%s\n", text.c_str());
      }
      std::printf("%14.8g", static_cast<double>(forecast.at(0)));
      for (const vinocast::Quantile& quantile : forecast.quantiles) {
        std::printf(" %14.8g", static_cast<double>(quantile.values.at(0)));
      }
      const std::string_view length = std::string_view(closed.stream).substr(closed.stream.rfind('@') + 1);
      const std::int64_t end_ms = (closed.bar.start_s + market::bar_seconds(length)) * 1000;
      const std::chrono::duration<double, std::milli> latency = pushed.came - start;
      if (time_ms) {
        std::printf(" %9.3f", static_cast<double>(*time_ms - end_ms) / 1000);
      } else {
        std::printf(" %9s", "-");
      }
      std::printf(" %11.3f\n", latency.count());
    }
    std::fflush(stdout);
  }

  static constexpr std::chrono::milliseconds engine_timeout{60'000};

  const Arguments& arguments_;
  market::Mailbox mailbox_;
  std::atomic<bool> bars_are_gone_{false};
  std::map<std::string, Stream> streams_;
  vinocast::FeedRequest request_;
  unsigned given_up_ = 0;  // how often the mailbox was, when the last message was fed
  FeedCounts counts_;
  std::set<std::string> warnings_;  // that were said
  std::size_t lines_ = 0;
  std::size_t blank_ = 0;
  std::uint64_t unanswered_ = 0;
  std::uint64_t used_ = 0;            // trades and candles of messages
  vinocast::InferenceEngine engine_;  // the last: what its thread uses is there before it
};

int run(const Arguments& arguments) {
  std::ifstream file;
  if (arguments.capture != "-") {
    file.open(arguments.capture);
    if (!market::can_be_read(file)) throw std::runtime_error("cannot read " + arguments.capture);
  }
  std::vector<std::vector<Bar>> histories;
  for (const auto& [product, path] : arguments.histories) {
    const std::vector<Bar>& candles = histories.emplace_back(market::read_candles(path));
    std::printf("%s: %zu candles from %s\n", product.c_str(), candles.size(), path.c_str());
  }
  Processor processor(arguments);
  for (std::size_t i = 0; i < histories.size(); ++i) {
    processor.give_history(arguments.histories[i].first, histories[i], arguments.histories[i].second);
  }
  Processor::print_head();
  std::istream& input = arguments.capture == "-" ? std::cin : file;
  for (std::string message; std::getline(input, message);) processor.take(message);
  return processor.summarize();
}

}  // namespace

int main(int count, char** texts) {
  try {
    const Arguments arguments = market::read_arguments(count, texts);
    if (!arguments.help) return run(arguments);
    std::fputs(market::help, stdout);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_processor: %s\n", error.what());
    return 1;
  }
}
