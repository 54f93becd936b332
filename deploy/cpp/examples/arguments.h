// What stream_processor is started with.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "candles_csv.h"
#include "vinocast/floats.h"
#include "vinocast/options.h"

namespace market {

constexpr const char* help = R"(stream_processor CAPTURE [--history PRODUCT=FILE]... [options]

Feeds raw messages of Coinbase's Exchange or Advanced Trade feed to a service that it starts, and prints a line for each
bar that closes, with the forecast of the next one, its band and its age. At the end it says what became of each message.

  CAPTURE                 a file of raw messages, one per line, or - for standard input
  --history PRODUCT=FILE  candles of a product from before the capture, for its bars of their length or of a multiple of
                          it: a CSV, as CryptoDataDownload publishes them, with open, high, low, close, a volume and a
                          time (unix, date, time or timestamp, or the first column) in its header, in any case and any
                          order. Times as 2026-11-25T03:57:27Z, as 2019-10-17 09-AM, or in seconds or milliseconds since
                          1970; rows in any order. May be repeated, also for one product
  --bars A,B,...          how long bars are, each a number with s, m or h (5m); --bar is the same
  --product NAME          a product to take from the messages; once for each (all that appear)
  --target CHANNEL        what is forecast (close)
  --band SHARE            of outcomes that the band is to hold (0.8)
  --program PATH          the service's program (the environment variable VINOCAST_PROGRAM, or vinocast from PATH)
  --models DIR            the folder of models that the service loads (the bundled ones)
  --model NAME            the model that forecasts (the service chooses)
  --help

Exit code: 0; 2 when no bar was forecast; 1 for everything else.
)";

struct Arguments {
  bool help = false;
  std::string capture{};
  std::vector<std::pair<std::string, std::string>> histories{};  // product, file
  std::vector<std::string> products{};
  std::vector<std::string> bars{"5m"};
  std::string target = "close";
  double band = 0.8;
  std::string model{};
  vinocast::Options options{};
};

/// Reads a number with s, m or h as seconds; throws std::runtime_error for anything else.
inline std::int64_t bar_seconds(std::string_view text) {
  std::int64_t number = 0;
  const std::size_t unit = std::string_view("smh").find(text.empty() ? ' ' : text.back());
  constexpr std::int64_t seconds[] = {1, 60, 3600};
  if (unit == std::string::npos || text[0] == '0' || !vinocast::read_number(text.substr(0, text.size() - 1), number) ||
      number < 1 || number > 1'000'000) {
    throw std::runtime_error("--bars: expected a number with s, m or h, such as 5m, got '" + std::string(text) + "'");
  }
  return number * seconds[unit];
}

/// Throws std::runtime_error for what is no option, or no value of one.
inline Arguments read_arguments(int count, char** texts) {
  Arguments arguments;
  if (const char* program = std::getenv("VINOCAST_PROGRAM")) arguments.options.program = program;
  for (int i = 1; i < count; ++i) {
    const std::string option = texts[i];
    if (option == "--help" || option == "-h") {
      arguments.help = true;
      return arguments;
    }
    if (option == "-" || option.rfind('-', 0) != 0) {
      if (!arguments.capture.empty()) throw std::runtime_error("two captures: " + arguments.capture + ", " + option);
      arguments.capture = option;
      continue;
    }
    if (++i == count) throw std::runtime_error(option + ": expected a value; --help says what it takes");
    const std::string value = texts[i];
    if (option == "--history") {
      const std::size_t equals = value.find('=');
      if (equals == std::string::npos || equals == 0 || equals + 1 == value.size()) {
        throw std::runtime_error("--history: expected PRODUCT=FILE, got '" + value + "'");
      }
      arguments.histories.emplace_back(value.substr(0, equals), value.substr(equals + 1));
    } else if (option == "--bars" || option == "--bar") {
      arguments.bars = cells_of(value);
      for (const std::string& bar : arguments.bars) bar_seconds(bar);
    } else if (option == "--product") {
      arguments.products.push_back(value);
    } else if (option == "--target") {
      arguments.target = value;
    } else if (option == "--band") {
      if (!vinocast::read_number(value, arguments.band) || arguments.band <= 0 || arguments.band >= 1) {
        throw std::runtime_error("--band: expected a share between 0 and 1, got '" + value + "'");
      }
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
  if (arguments.capture.empty()) {
    throw std::runtime_error("expected a file of messages, or - for standard input; --help says more");
  }
  return arguments;
}

}  // namespace market
