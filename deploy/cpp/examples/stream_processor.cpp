// A forecast a bar, as a stream processor would do it.
//
//     stream_processor CANDLES.csv [--bars N] [--target CHANNEL] [--program PATH] [--models DIR] [--model NAME]
//     stream_processor --capture MESSAGES.jsonl [--product BTC-USD] [the same options]
//
// Reads a CSV, or a capture of Coinbase's Advanced Trade feed with one raw message a line; market_data.h says which
// forms they have. A candle's channels are open, high, low, close, volume in coins, volume in dollars, and the typical
// price (high + low + close) / 3.
// The model must have as many channels as the file has, or fewer: the first ones are taken, in that order. A model
// that was trained on other quantities gives numbers, not wisdom: it normalizes each channel by its own mean and
// deviation, and knows nothing else of it.
//
// The bars before the shown ones are sent as the history of a stream. From then on each bar sends one row and asks for
// the forecast of the stream in the same breath, which is one round trip; the bar's line shows what the next value of
// the target was, and what was forecast. When the service has been restarted its streams are gone: the reply to the row
// says that rows are missing, and the history is sent again.
//
// Exit code: 0; 2 when there are fewer bars than the model's window has rows, so that nothing is forecast; 1 for
// everything else.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "market_data.h"
#include "vinocast/inference_engine.h"

namespace {

constexpr int too_few_bars = 2;

struct Arguments {
  std::string file;
  bool capture = false;
  std::string product = "BTC-USD";
  std::size_t bars = 20;
  std::string target;
  std::string model;
  vinocast::Options options;
};

Arguments read_arguments(int count, char** texts) {
  Arguments arguments;
  std::vector<std::string> files;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) arguments.options.program = program;
  for (int i = 1; i < count; ++i) {
    const std::string option = texts[i];
    if (option.rfind("--", 0) != 0) {
      files.push_back(option);
      continue;
    }
    if (++i == count) throw std::runtime_error(option + ": expected a value");
    const std::string value = texts[i];
    if (option == "--bars") {
      if (!market::read_number(value, arguments.bars)) throw std::runtime_error("--bars: expected a number");
    } else if (option == "--capture") {
      files.push_back(value);
      arguments.capture = true;
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
      throw std::runtime_error("no such option: " + option);
    }
  }
  if (files.size() != 1) {
    throw std::runtime_error(
        "usage: stream_processor CANDLES.csv | --capture MESSAGES.jsonl [--product BTC-USD] [--bars N] "
        "[--target CHANNEL] [--program PATH] [--models DIR] [--model NAME]");
  }
  arguments.file = files.front();
  return arguments;
}

/// Sends the `count` bars that end before `end` as the history of a stream.
vinocast::Reply send_history(vinocast::InferenceEngine& engine, const vinocast::ObserveRequest& row,
                             const std::vector<market::Bar>& bars, std::size_t end, std::size_t count) {
  const std::size_t channels = row.rows.channels;
  std::vector<float> values;
  values.reserve(count * channels);
  for (std::size_t i = end - count; i < end; ++i) {
    const auto& bar = bars[i].values;
    values.insert(values.end(), bar.begin(), bar.begin() + static_cast<std::ptrdiff_t>(channels));
  }
  vinocast::ObserveRequest history = row;
  history.rows = {values.data(), count, channels};
  // Without a timestamp the order of arrival counts: a new row may have reached the new process before its history.
  history.timestamp_ms.reset();
  return engine.observe(history);
}

int run(const Arguments& arguments) {
  market::Series series =
      arguments.capture ? market::read_capture(arguments.file, arguments.product) : market::read_csv(arguments.file);
  std::printf("%s\n", series.source.c_str());
  const std::vector<market::Bar>& bars = series.bars;
  std::vector<std::string>& names = series.names;

  vinocast::Options options = arguments.options;
  options.on_event = [](const vinocast::Event& event) { std::fprintf(stderr, "%s\n", event.message.c_str()); };
  vinocast::InferenceEngine engine(std::move(options));

  vinocast::ModelInfo model = engine.service().default_model_info();
  for (const vinocast::ModelInfo& served : engine.service().models) {
    if (served.name == arguments.model) model = served;
  }
  if (!arguments.model.empty() && model.name != arguments.model) {
    throw std::runtime_error("the service has no model " + arguments.model);
  }
  const std::size_t channels = model.channels.size();
  if (channels > names.size()) {
    throw std::runtime_error(model.name + " wants " + std::to_string(channels) + " channels, the file has " +
                             std::to_string(names.size()));
  }
  if (bars.size() < model.context) {
    std::printf("no forecast: the window of %s has %zu rows, the file has %zu, %zu are missing\n", model.name.c_str(),
                model.context, bars.size(), model.context - bars.size());
    return too_few_bars;
  }
  // The close of a candle, or the file's last channel, unless another is named.
  names.resize(channels);
  const std::string wanted = !arguments.target.empty() ? arguments.target
                             : std::find(names.begin(), names.end(), "close") != names.end() ? "close"
                                                                                             : names.back();
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found == names.end()) throw std::runtime_error("no channel " + wanted);
  const auto target = static_cast<std::size_t>(found - names.begin());

  for (std::size_t i = 0; i < channels; ++i) {
    std::printf("%s of %s is the file's %s\n", model.channels[i].c_str(), model.name.c_str(), names[i].c_str());
  }
  std::printf("%-14s %14s %14s %14s %10s %10s\n", "timestamp_ms", wanted.c_str(), "next, forecast", "next, real",
              "bar ms", "model ms");

  vinocast::ObserveRequest row;
  row.stream = "candles";
  row.model = model.name;
  row.rows = {nullptr, 1, channels};
  vinocast::ForecastRequest forecast;
  forecast.stream = row.stream;
  forecast.model = model.name;
  forecast.targets = {model.channels[target]};

  const std::size_t shown = std::min(arguments.bars, bars.size() - model.context + 1);
  const std::size_t first = bars.size() - shown;
  // The first bar shown completes the window.
  vinocast::Reply observed = send_history(engine, row, bars, first, model.context - 1);
  if (!observed.ok()) throw std::runtime_error("history: " + observed.error.message);
  for (std::size_t i = first; i < bars.size(); ++i) {
    const market::Bar& bar = bars[i];
    row.rows.values = bar.values.data();
    row.timestamp_ms = forecast.timestamp_ms = bar.timestamp_ms;
    const auto start = std::chrono::steady_clock::now();
    std::future<vinocast::Reply> acknowledged = engine.observe_async(row);
    vinocast::Reply reply = engine.predict(forecast);
    observed = acknowledged.get();
    if (!observed.ok() || observed.missing > 0) {
      observed = send_history(engine, row, bars, i + 1, model.context);
      if (observed.ok()) reply = engine.predict(forecast);
    }
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    if (reply.ok()) {
      const std::string next = i + 1 < bars.size() ? std::to_string(bars[i + 1].values[target]) : "-";
      std::printf("%-14lld %14f %14f %14s %10.3f %10.3f\n", static_cast<long long>(bar.timestamp_ms),
                  static_cast<double>(bar.values[target]), static_cast<double>(reply.at(0)), next.c_str(),
                  passed.count(), reply.inference_ms);
    } else {
      std::printf("%-14lld %s: %s\n", static_cast<long long>(bar.timestamp_ms), to_string(reply.outcome),
                  reply.error.message.c_str());
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** texts) {
  try {
    return run(read_arguments(count, texts));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_processor: %s\n", error.what());
    return 1;
  }
}
