// A forecast a bar, as a stream processor would do it.
//
//     stream_processor CANDLES.csv [--bars N] [--target CHANNEL] [--program PATH] [--models DIR] [--model NAME]
//
// Reads one of two kinds of file:
//   * candles as CryptoDataDownload publishes them: a banner line, then `date,symbol,open,high,low,close,volume_btc,
//     volume`, newest row first, dates like `2019-10-17 09-AM`. The rows are sorted into ascending time and of rows
//     with the same time the one that stands first in the file is kept. A bar's channels are open, high, low, close,
//     volume in coins, volume in dollars, and the typical price (high + low + close) / 3.
//   * anything else with a header line: `timestamp,c1,…,cN`, oldest row first, the timestamp in milliseconds.
// The model must have as many channels as the file has, or fewer: the first ones are taken, in that order. A model
// that was trained on other quantities gives numbers, not wisdom: it normalizes each channel by its own mean and
// deviation, and knows nothing else of it.
//
// The first `context` bars are sent as the history of a stream. From then on each bar sends one row and asks for the
// forecast of the stream in the same breath, which is one round trip; the bar's line shows what the next value of the
// target was, and what was forecast. When the service has been restarted its streams are gone: the reply to the row
// says that rows are missing, and the history is sent again.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fstream>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

#include "vinocast/inference_engine.h"

namespace {

struct Bar {
  std::int64_t timestamp_ms = 0;
  std::vector<float> values;
};

struct Arguments {
  std::string file;
  std::size_t bars = 20;
  std::string target;
  std::string model;
  vinocast::Options options;
};

std::vector<std::string> cells_of(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  std::vector<std::string> cells;
  for (std::size_t start = 0; start <= line.size();) {
    const std::size_t comma = std::min(line.find(',', start), line.size());
    cells.push_back(line.substr(start, comma - start));
    start = comma + 1;
  }
  return cells;
}

template <typename Number>
Number number_of(const std::string& cell, std::size_t line) {
  Number number{};
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  if (error != std::errc{} || end != cell.data() + cell.size()) {
    throw std::runtime_error("line " + std::to_string(line) + ": expected a number, got '" + cell + "'");
  }
  return number;
}

/// Milliseconds since 1970 of a date like "2019-10-17 09-AM", which is in UTC.
std::int64_t candle_time(const std::string& date, std::size_t line) {
  std::tm parts{};
  char half[3]{};
  if (std::sscanf(date.c_str(), "%d-%d-%d %d-%2s", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                  half) != 5 ||
      parts.tm_hour < 1 || parts.tm_hour > 12) {
    throw std::runtime_error("line " + std::to_string(line) + ": expected a date like 2019-10-17 09-AM, got '" + date +
                             "'");
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  parts.tm_hour = parts.tm_hour % 12 + (half[0] == 'P' ? 12 : 0);
  return std::int64_t{::timegm(&parts)} * 1000;
}

/// The bars of a file in ascending order of time, and the names of their channels.
std::vector<Bar> read_bars(const std::string& path, std::vector<std::string>& names) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<Bar> bars;
  std::string text;
  std::size_t line = 0;
  bool candles = false;
  while (std::getline(file, text)) {
    ++line;
    const std::vector<std::string> cells = cells_of(text);
    if (line == 1 && cells.back().rfind("http", 0) == 0) continue;  // the banner names its site
    if (names.empty()) {
      candles = cells.size() == 8 && cells[0] == "date" && cells[1] == "symbol";
      if (candles) {
        names = {"open", "high", "low", "close", "volume_btc", "volume", "typical"};
      } else {
        names.assign(cells.begin() + 1, cells.end());
      }
      continue;
    }
    if (cells.size() != names.size() + 1) {
      throw std::runtime_error("line " + std::to_string(line) + ": expected " + std::to_string(names.size() + 1) +
                               " cells, got " + std::to_string(cells.size()));
    }
    Bar bar;
    bar.timestamp_ms = candles ? candle_time(cells[0], line) : number_of<std::int64_t>(cells[0], line);
    for (std::size_t i = candles ? 2 : 1; i < cells.size(); ++i) bar.values.push_back(number_of<float>(cells[i], line));
    if (candles) bar.values.push_back((bar.values[1] + bar.values[2] + bar.values[3]) / 3);
    bars.push_back(std::move(bar));
  }
  std::stable_sort(bars.begin(), bars.end(),
                   [](const Bar& one, const Bar& other) { return one.timestamp_ms < other.timestamp_ms; });
  bars.erase(std::unique(bars.begin(), bars.end(),
                         [](const Bar& one, const Bar& other) { return one.timestamp_ms == other.timestamp_ms; }),
             bars.end());
  return bars;
}

Arguments read_arguments(int count, char** texts) {
  Arguments arguments;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) arguments.options.program = program;
  for (int i = 1; i < count; ++i) {
    const std::string option = texts[i];
    if (option.rfind("--", 0) != 0) {
      arguments.file = option;
      continue;
    }
    if (++i == count) throw std::runtime_error(option + ": expected a value");
    const std::string value = texts[i];
    if (option == "--bars") {
      arguments.bars = number_of<std::size_t>(value, 0);
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
  if (arguments.file.empty()) {
    throw std::runtime_error(
        "usage: stream_processor CANDLES.csv [--bars N] [--target CHANNEL] [--program PATH] [--models DIR] "
        "[--model NAME]");
  }
  return arguments;
}

/// Sends the `context` bars that end before `end` as the history of a stream.
vinocast::Reply send_history(vinocast::InferenceEngine& engine, const vinocast::ObserveRequest& row,
                             const std::vector<Bar>& bars, std::size_t end, std::size_t context) {
  const std::size_t channels = row.rows.channels;
  std::vector<float> values;
  values.reserve(context * channels);
  for (std::size_t i = end - context; i < end; ++i) {
    const auto& bar = bars[i].values;
    values.insert(values.end(), bar.begin(), bar.begin() + static_cast<std::ptrdiff_t>(channels));
  }
  vinocast::ObserveRequest history = row;
  history.rows = {values.data(), context, channels};
  // Without a timestamp the order of arrival counts: a new row may have reached the new process before its history.
  history.timestamp_ms.reset();
  return engine.observe(history);
}

void run(const Arguments& arguments) {
  std::vector<std::string> names;
  const std::vector<Bar> bars = read_bars(arguments.file, names);

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
  if (bars.size() <= model.context) {
    throw std::runtime_error("expected more than " + std::to_string(model.context) + " bars, the file has " +
                             std::to_string(bars.size()));
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

  const std::size_t shown = std::min(arguments.bars, bars.size() - model.context);
  const std::size_t first = bars.size() - shown;
  vinocast::Reply observed = send_history(engine, row, bars, first, model.context);
  if (!observed.ok()) throw std::runtime_error("history: " + observed.error.message);
  for (std::size_t i = first; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
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
}

}  // namespace

int main(int count, char** texts) {
  try {
    run(read_arguments(count, texts));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_processor: %s\n", error.what());
    return 1;
  }
}
