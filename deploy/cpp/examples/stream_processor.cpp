// A forecast a bar, as a stream processor would do it. `stream_processor --help` says what it takes.
//
// A candle's channels are open, high, low, close, volume in coins, volume in dollars, and the typical price
// (high + low + close) / 3. The model must have as many channels as the file has, or fewer: the first ones are taken,
// in that order. A model that was trained on other quantities gives numbers, not wisdom: it normalizes each channel by
// its own mean and deviation, and knows nothing else of it.
//
// The bars before the shown ones are sent as the history of a stream. From then on each bar sends one row and asks for
// the forecast of the stream in the same breath, which is one round trip; the bar's line shows what the next value of
// the target was, and what was forecast. When the service has been restarted its streams are gone: the reply to the row
// says that rows are missing, and the history is sent again.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <future>
#include <iostream>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "series.h"
#include "vinocast/inference_engine.h"

namespace {

constexpr int too_few_bars = 2;

constexpr const char* help = R"(stream_processor [HISTORY.csv] [--capture MESSAGES.jsonl] [options]

Forecasts the next bar after each bar, by a service that it starts. It reads a CSV of bars, or raw messages of
Coinbase's Advanced Trade feed, one per line, or the messages after the CSV that holds the history before them.

  HISTORY.csv          candles, as CryptoDataDownload publishes them: a header with open, high, low, close, volume and
                       a time (unix, date, time or timestamp, or the first column), in any case and any order, with or
                       without symbol, tradecount, vwap and a second volume in dollars. Or TIME and any columns. Times
                       as 2026-11-25T03:57:27Z, as 2019-10-17 09-AM, or in seconds or milliseconds since 1970; rows in
                       any order
  --capture MESSAGES   a file of messages, of which the 5-minute candles count, or - for standard input: then each bar
                       is forecast as soon as it is complete, until the input ends
  --product NAME       whose candles are taken from the messages (BTC-USD)
  --bars N             forecast the last N bars (20); from standard input: end after N forecasts (no end); 0 from
                       files: only say what was read
  --target CHANNEL     what is forecast (close, or the file's last column)
  --program PATH       the service's program (the environment variable VINOCAST_PROGRAM, or vinocast from PATH)
  --models DIR         the folder of models that the service loads (the bundled ones)
  --model NAME         the model that forecasts (the service's default)
  --help

Exit code: 0; 2 when there are fewer bars than the model's window has rows, so that nothing is forecast; 1 for
everything else.
)";

struct Arguments {
  bool help = false;
  std::string history;
  std::string capture;
  std::string product = "BTC-USD";
  std::optional<std::size_t> bars;
  std::string target;
  std::string model;
  vinocast::Options options;
};

Arguments read_arguments(int count, char** texts) {
  Arguments arguments;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) arguments.options.program = program;
  for (int i = 1; i < count; ++i) {
    const std::string option = texts[i];
    if (option == "--help" || option == "-h") {
      arguments.help = true;
      return arguments;
    }
    if (option.rfind('-', 0) != 0) {
      if (!arguments.history.empty()) throw std::runtime_error("two files: " + arguments.history + ", " + option);
      arguments.history = option;
      continue;
    }
    if (++i == count) throw std::runtime_error(option + ": expected a value; --help says what it takes");
    const std::string value = texts[i];
    if (option == "--bars") {
      if (!vinocast::read_number(value, arguments.bars.emplace())) {
        throw std::runtime_error("--bars: expected a number, got '" + value + "'");
      }
    } else if (option == "--capture") {
      arguments.capture = value;
    } else if (option == "--product") {
      arguments.product = value;
    } else if (option == "--target") {
      arguments.target = value;
    } else if (option == "--model") {
      arguments.model = value;
    } else if (option == "--program") {
      arguments.options.program = value;
    } else if (option == "--models") {
      arguments.options.arguments = {"--models", value};
    } else {
      throw std::runtime_error("no such option: " + option + "; --help lists them");
    }
  }
  if (arguments.history.empty() && arguments.capture.empty()) {
    throw std::runtime_error("expected a CSV, or --capture and a file of messages; --help says more");
  }
  if (arguments.capture == "-" && arguments.bars == 0) {
    throw std::runtime_error("--bars: expected a number above 0 for messages from standard input, got 0");
  }
  return arguments;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// The forecaster that was asked for, or the default one. A model of another kind has no channels.
vinocast::ModelInfo find_forecaster(const vinocast::ServiceInfo& service, const std::string& name) {
  const std::string& wanted = name.empty() ? service.default_model : name;
  std::vector<std::string> names;
  bool other = false;
  for (const vinocast::ModelInfo& model : service.models) {
    if (model.channels.empty()) {
      other = other || model.name == wanted;
      continue;
    }
    if (model.name == wanted) return model;
    names.push_back(model.name);
  }
  if (other) throw std::runtime_error("--model: " + wanted + " is no forecaster; there is " + joined(names));
  throw std::runtime_error("--model: the service has no model " + wanted + ", but " + joined(names));
}

/// The channel that was asked for; else the close of a candle, or the file's last channel.
std::size_t find_target(const std::vector<std::string>& names, const std::string& wanted) {
  const auto found = std::find(names.begin(), names.end(), wanted.empty() ? "close" : wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  if (wanted.empty()) return names.size() - 1;
  throw std::runtime_error("--target: no channel " + wanted + "; the channels are " + joined(names));
}

/// Forecasts a series, of which the service keeps the window.
class Forecasts {
 public:
  Forecasts(const market::Series& series, const Arguments& arguments)
      : series_(series), engine_(options_of(arguments)), model_(find_forecaster(engine_.service(), arguments.model)) {
    const std::size_t channels = model_.channels.size();
    if (channels > series.names.size()) {
      throw std::runtime_error(model_.name + " wants " + std::to_string(channels) + " channels, the file has " +
                               std::to_string(series.names.size()));
    }
    const std::vector<std::string> names(series.names.begin(),
                                         series.names.begin() + static_cast<std::ptrdiff_t>(channels));
    target_ = find_target(names, arguments.target);
    for (std::size_t i = 0; i < channels; ++i) {
      std::printf("%s of %s is the file's %s\n", model_.channels[i].c_str(), model_.name.c_str(), names[i].c_str());
    }
    row_.stream = forecast_.stream = "candles";
    row_.model = forecast_.model = model_.name;
    row_.rows = {nullptr, 1, channels};
    forecast_.targets = {model_.channels[target_]};
  }

  /// Rows of the model's window.
  std::size_t window() const { return model_.context; }

  void show_head() const {
    std::printf("%-14s %14s %14s %14s %10s %10s\n", "timestamp_ms", series_.names[target_].c_str(), "next, forecast",
                "next, real", "bar ms", "model ms");
  }

  /// Says how many rows are missing.
  int end_too_short() const {
    std::printf("no forecast: the window of %s has %zu rows, the file has %zu, %zu are missing\n", model_.name.c_str(),
                window(), series_.rows.size(), window() - std::min(window(), series_.rows.size()));
    return too_few_bars;
  }

  /// Forecasts what follows row `i`, before which there are enough for a window.
  void show(std::size_t i) {
    const market::Row& row = series_.rows[i];
    // The row before this one is the last that the service has, or it has none.
    if (i > 0 && last_sent_ms_ != series_.rows[i - 1].timestamp_ms) {
      const vinocast::Reply history = send_history(i, window() - 1);
      if (!history.ok()) throw std::runtime_error("history: " + history.error.message);
    }
    last_sent_ms_ = row.timestamp_ms;
    row_.rows.values = row.values.data();
    row_.timestamp_ms = forecast_.timestamp_ms = row.timestamp_ms;
    const auto start = std::chrono::steady_clock::now();
    std::future<vinocast::Reply> acknowledged = engine_.observe_async(row_);
    vinocast::Reply reply = engine_.predict(forecast_);
    const vinocast::Reply observed = acknowledged.get();
    if (!observed.ok() || observed.missing > 0) {
      if (send_history(i + 1, window()).ok()) reply = engine_.predict(forecast_);
    }
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    const auto timestamp = static_cast<long long>(row.timestamp_ms);
    if (reply.ok()) {
      const std::string next = i + 1 < series_.rows.size() ? std::to_string(series_.rows[i + 1].values[target_]) : "-";
      std::printf("%-14lld %14f %14f %14s %10.3f %10.3f\n", timestamp, static_cast<double>(row.values[target_]),
                  static_cast<double>(reply.at(0)), next.c_str(), passed.count(), reply.inference_ms);
    } else {
      std::printf("%-14lld %s: %s\n", timestamp, to_string(reply.outcome), reply.error.message.c_str());
    }
    std::fflush(stdout);
  }

 private:
  static vinocast::Options options_of(const Arguments& arguments) {
    vinocast::Options options = arguments.options;
    options.on_event = [](const vinocast::Event& event) { std::fprintf(stderr, "%s\n", event.message.c_str()); };
    return options;
  }

  /// Sends the `count` rows that end before `end` as the history of the stream.
  vinocast::Reply send_history(std::size_t end, std::size_t count) {
    const std::size_t channels = row_.rows.channels;
    std::vector<float> values;
    values.reserve(count * channels);
    for (std::size_t i = end - count; i < end; ++i) {
      const auto& row = series_.rows[i].values;
      values.insert(values.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(channels));
    }
    vinocast::ObserveRequest history = row_;
    history.rows = {values.data(), count, channels};
    // Without a timestamp the order of arrival counts: a new row may have reached the new process before its history.
    history.timestamp_ms.reset();
    return engine_.observe(history);
  }

  const market::Series& series_;
  vinocast::InferenceEngine engine_;
  const vinocast::ModelInfo model_;
  std::size_t target_ = 0;
  vinocast::ObserveRequest row_;
  vinocast::ForecastRequest forecast_;
  std::optional<std::int64_t> last_sent_ms_;
};

void say_what_was_read(const market::Series& series, const Arguments& arguments, const vinocast::CandleBars& feed) {
  if (arguments.capture.empty()) {
    std::printf("%zu bars from %zu lines of %s\n", series.rows.size(), series.lines, arguments.history.c_str());
    return;
  }
  const vinocast::CandleCounts& counts = feed.counts();
  std::printf(
      "%zu completed bars of %s, %zu of them missing in the feed, from %zu messages with candles%s; "
      "skipped: %zu other messages, %zu errors, %zu refused\n",
      series.rows.size(), arguments.product.c_str(), series.missing, counts.used,
      arguments.history.empty() ? "" : (" after " + arguments.history).c_str(), counts.ignored, counts.errors,
      counts.refused);
  if (series.holes + counts.restarts > 0) {
    std::printf("holes that made it begin anew: %zu\n", std::max(series.holes, counts.restarts));
  }
  if (feed.bars().empty()) {
    std::printf("products with candles: %s\n",
                feed.other_products().empty()
                    ? "none"
                    : joined({feed.other_products().begin(), feed.other_products().end()}).c_str());
  }
}

/// Forecasts the last bars of what the files hold.
int forecast_files(market::Series& series, const Arguments& arguments, vinocast::CandleBars& feed) {
  if (!arguments.capture.empty()) {
    std::ifstream messages(arguments.capture);
    if (!messages) throw std::runtime_error("cannot read " + arguments.capture);
    for (std::string message; std::getline(messages, message);) {
      if (!message.empty()) feed.add(message);
    }
    market::append(series, feed);
  }
  say_what_was_read(series, arguments, feed);
  Forecasts forecasts(series, arguments);
  if (series.rows.size() < forecasts.window()) return forecasts.end_too_short();
  if (arguments.bars == 0) return 0;
  forecasts.show_head();
  const std::size_t shown = std::min(arguments.bars.value_or(20), series.rows.size() - forecasts.window() + 1);
  for (std::size_t i = series.rows.size() - shown; i < series.rows.size(); ++i) forecasts.show(i);
  return 0;
}

/// Forecasts each bar that standard input completes.
int forecast_live(market::Series& series, const Arguments& arguments, vinocast::CandleBars& feed) {
  Forecasts forecasts(series, arguments);
  forecasts.show_head();
  const std::size_t wanted = arguments.bars.value_or(std::numeric_limits<std::size_t>::max());
  std::size_t shown = 0;
  for (std::string message; shown < wanted && std::getline(std::cin, message);) {
    if (!message.empty()) feed.add(message);
    if (market::append(series, feed) == 0 || series.rows.size() < forecasts.window()) continue;
    forecasts.show(series.rows.size() - 1);
    ++shown;
  }
  say_what_was_read(series, arguments, feed);
  return shown == 0 && wanted > 0 ? forecasts.end_too_short() : 0;
}

int run(const Arguments& arguments) {
  market::Series series;
  series.names = market::candle_channels;
  if (!arguments.history.empty()) {
    series = market::read_csv(arguments.history);
    if (!arguments.capture.empty()) market::check_history(series, arguments.history);
  }
  vinocast::CandleBars feed(arguments.product);
  return arguments.capture == "-" ? forecast_live(series, arguments, feed) : forecast_files(series, arguments, feed);
}

}  // namespace

int main(int count, char** texts) {
  try {
    const Arguments arguments = read_arguments(count, texts);
    if (!arguments.help) return run(arguments);
    std::fputs(help, stdout);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_processor: %s\n", error.what());
    return 1;
  }
}
