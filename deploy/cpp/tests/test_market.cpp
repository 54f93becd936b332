// Market streams of the real service: what is fed, what closes, and what is forecast.
#include <csignal>
#include <cstdlib>
#include <map>

#include "harness.h"

using namespace vinocast;

namespace {

constexpr std::int64_t begin_s = 1'772'600'400;
constexpr const char* minutes = "BTC-USD@1m";

Options market_options(const char* bars = "1m") {
  Options options = harness::options();
  options.arguments = {"--bars", bars};
  return options;
}

/// A message of one trade of the Exchange feed, so many seconds after the begin.
std::string match(int id, int second, const std::string& price, const std::string& product = "BTC-USD") {
  char time[32];
  std::snprintf(time, sizeof time, "2026-03-04T%02d:%02d:%02d.5Z", 5 + second / 3600, second / 60 % 60, second % 60);
  return R"({"type":"match","trade_id":)" + std::to_string(id) + R"(,"side":"sell","size":"0.5","price":")" + price +
         R"(","product_id":")" + product + R"(","sequence":)" + std::to_string(id) + R"(,"time":")" + time + "\"}";
}

/// Candles of the `count` minutes before the begin.
HistoryRequest history_of(std::size_t count) {
  HistoryRequest history;
  history.stream = minutes;
  for (std::size_t i = 0; i < count; ++i) {
    const double price = 100 + static_cast<double>((i * i) % 17) + static_cast<double>(i % 5) / 4;
    history.bars.push_back({begin_s - static_cast<std::int64_t>(60 * (count - i)), price, price + 2, price - 2,
                            price + 1, static_cast<double>(1 + i % 7), BarState::complete});
  }
  return history;
}

std::string text_of(const Bar& bar) {
  char text[160];
  std::snprintf(text, sizeof text, "%lld %g %g %g %g %g %s", static_cast<long long>(bar.start_s - begin_s), bar.open,
                bar.high, bar.low, bar.close, bar.volume, to_string(bar.state));
  return text;
}

std::vector<std::string> texts_of(const std::vector<Bar>& bars) {
  std::vector<std::string> texts;
  for (const Bar& bar : bars) texts.push_back(text_of(bar));
  return texts;
}

std::vector<Bar> bars_of(InferenceEngine& engine, const std::string& name) {
  BarsRequest request;
  request.stream = name;
  const Reply reply = engine.bars(request);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.stream == name);
  return reply.bars;
}

}  // namespace

TEST_SUITE_BEGIN("market");

TEST_CASE("messages become bars, and a reply names those that close") {
  InferenceEngine engine(market_options());
  CHECK(engine.feed(match(1, 50, "7")).closed.empty());
  Reply reply = engine.feed(match(2, 61, "8"));
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  REQUIRE(reply.closed.size() == 1);
  CHECK(reply.closed[0].stream == minutes);
  CHECK(text_of(reply.closed[0].bar) == "0 7 7 7 7 0.5 incomplete");
  CHECK(reply.counts.seen == 1);

  FeedRequest several;
  const std::string messages[] = {match(2, 61, "8"),
                                  match(3, 70, "9.5"),
                                  "no JSON",
                                  R"({"type":"error","message":"x"})",
                                  R"({"type":"auction"})",
                                  match(4, 240, "1e1"),
                                  match(1, 90, "3", "ETH-USD")};
  several.messages.assign(std::begin(messages), std::end(messages));
  reply = engine.feed(several);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.counts.seen == 7);
  CHECK(reply.counts.refused == 1);
  CHECK(reply.counts.errors == 1);
  CHECK(reply.counts.ignored == 1);
  CHECK(texts_of(bars_of(engine, minutes)) ==
        std::vector<std::string>{"0 7 7 7 7 0.5 incomplete", "60 8 9.5 8 9.5 1 complete",
                                 "120 9.5 9.5 9.5 9.5 0 filled", "180 9.5 9.5 9.5 9.5 0 filled",
                                 "240 10 10 10 10 0.5 open"});
  CHECK(texts_of(bars_of(engine, "ETH-USD@1m")) == std::vector<std::string>{"60 3 3 3 3 0.5 incomplete"});
  BarsRequest last;
  last.stream = minutes;
  last.last = 2;
  reply = engine.bars(last);
  CHECK(texts_of(reply.bars) == std::vector<std::string>{"180 9.5 9.5 9.5 9.5 0 filled", "240 10 10 10 10 0.5 open"});
  CHECK(reply.counts.used == 4);
  CHECK(reply.counts.duplicates == 1);
}

TEST_CASE("a message that is none is refused with a code, and the feed goes on") {
  InferenceEngine engine(market_options());
  REQUIRE(engine.feed(match(1, 0, "7")).ok());
  for (const std::string& bad :
       {std::string(), std::string("no JSON"), std::string("{\"type\":\"match\"\n"), std::string("[]"),
        std::string("null"), std::string("\xff\xfe"), std::string(R"({"a":1},"connected":true)"), match(2, 1, "NaN"),
        match(2, 1, "-1"), match(2, 1, "")}) {
    CAPTURE(bad);
    const Reply reply = engine.feed(bad);
    CHECK(reply.outcome == Outcome::service_error);
    CHECK((reply.error.code == "invalid_request" || reply.error.code == "invalid_value"));
    CHECK(reply.error.field.substr(0, 7) == "message");
  }
  CHECK(engine.feed(match(2, 1, "8")).ok());
  CHECK(texts_of(bars_of(engine, minutes)).back() == "0 7 8 7 8 1 incomplete");
  CHECK(engine.counters().garbage_lines == 0);
  BarsRequest unknown;
  unknown.stream = "XXX-USD@1m";
  CHECK(engine.bars(unknown).error.code == "unknown_stream");
}

TEST_CASE("each bar that closes has its forecast pushed, with a band, and it is what a request gets") {
  Options options = market_options();
  std::mutex mutex;
  std::vector<Reply> pushed;
  options.on_forecast = [&](Reply&& forecast) {
    const std::lock_guard<std::mutex> lock(mutex);
    pushed.push_back(std::move(forecast));
  };
  const auto heard = [&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return pushed.size();
  };
  InferenceEngine engine(options);
  const Reply given = engine.history(history_of(700));
  REQUIRE_MESSAGE(given.ok(), given.error.message);

  FeedRequest request;
  BarForecast& wanted = request.on_bar.emplace();
  wanted.targets = {"close", "high"};
  wanted.quantile_levels = {0.9, 0.1};
  wanted.prediction_length = 5;
  std::size_t closed = 0;
  for (int i = 0; i < 8; ++i) {
    CAPTURE(i);
    // Of another product there is no history.
    const std::string messages[] = {match(10 + i, 60 * i + 5, std::to_string(110 + i)),
                                    match(10 + i, 60 * i + 6, "5", "ETH-USD")};
    request.messages.assign(std::begin(messages), std::end(messages));
    const Reply reply = engine.feed(request);
    REQUIRE_MESSAGE(reply.ok(), reply.error.message);
    std::map<std::string, int> by_stream;
    for (const ClosedBar& bar : reply.closed) ++by_stream[bar.stream];
    CHECK(by_stream[minutes] == 1);
    CHECK(by_stream["ETH-USD@1m"] == (i > 0 ? 1 : 0));
    closed += reply.closed.size();
    REQUIRE(harness::eventually([&] { return heard() == closed; }));

    ForecastRequest asked;
    asked.stream = minutes;
    asked.targets = wanted.targets;
    asked.quantile_levels = wanted.quantile_levels;
    asked.prediction_length = 5;
    const Reply same = engine.predict(asked);
    REQUIRE_MESSAGE(same.ok(), same.error.message);
    const std::lock_guard<std::mutex> lock(mutex);
    for (std::size_t back = 1; back <= reply.closed.size(); ++back) {
      const Reply& forecast = pushed[pushed.size() - back];
      if (forecast.stream != minutes) {
        CHECK(forecast.error.code == "not_enough_history");
        continue;
      }
      REQUIRE_MESSAGE(forecast.ok(), forecast.error.message);
      CHECK(forecast.channels == wanted.targets);
      CHECK(forecast.horizon == 5);
      CHECK(forecast.predictions == same.predictions);
      REQUIRE(forecast.quantiles.size() == 2);
      CHECK(forecast.quantiles[0].level == 0.1);
      CHECK(forecast.quantiles[0].values == same.quantiles[0].values);
      CHECK(forecast.quantiles[1].values == same.quantiles[1].values);
      for (std::size_t at = 0; at < 10; ++at) {
        CHECK(forecast.quantiles[0].values[at] <= forecast.quantiles[1].values[at]);
      }
    }
  }
  CHECK(engine.counters().pushed == closed);
  CHECK(engine.forecast(minutes).predictions.size() > 10);
}

TEST_CASE("after the service has died its streams are gone, and come back with their history") {
  Options options = market_options();
  InferenceEngine engine(options);
  REQUIRE(engine.history(history_of(700)).ok());
  REQUIRE(engine.feed(match(1, 0, "100")).ok());
  const Reply before = engine.forecast(minutes);
  REQUIRE_MESSAGE(before.ok(), before.error.message);
  ::kill(engine.service().pid, SIGKILL);
  REQUIRE(harness::eventually([&] { return engine.counters().restarts == 1; }));
  CHECK(engine.forecast(minutes).error.code == "unknown_stream");
  REQUIRE(engine.history(history_of(700)).ok());
  FeedRequest request;
  const std::string message = match(1, 0, "100");
  request.message = message;
  request.connected = true;
  REQUIRE(engine.feed(request).ok());
  CHECK(engine.forecast(minutes).predictions == before.predictions);
}

TEST_CASE("the sequences of faults that the project keeps give the bars that they say") {
  const char* path = std::getenv("VINOCAST_TEST_FEED_FAULTS");
  if (path == nullptr) return;
  simdjson::dom::parser parser;
  simdjson::dom::object faults;
  REQUIRE(parser.load(path).get(faults) == simdjson::SUCCESS);
  for (const auto fault : faults) {
    CAPTURE(fault.key);
    InferenceEngine engine(market_options("1m,5m"));
    FeedRequest request;
    for (const simdjson::dom::element one : fault.value["messages"].get_array()) {
      if (one["connect"].error() == simdjson::SUCCESS) {
        request.connected = true;
        continue;
      }
      const std::string message = simdjson::minify(one);
      request.message = message;
      const Reply reply = engine.feed(request);
      CHECK_MESSAGE(reply.ok(), reply.error.message);
      request.connected = false;
    }
    const bool minute = fault.value["bar_seconds"].get_int64().value() == 60;
    const std::string name = std::string(fault.value["product"].get_string().value()) + (minute ? "@1m" : "@5m");
    std::vector<std::string> expected;
    for (const simdjson::dom::element said : fault.value["bars"].get_array()) {
      std::string_view words = said.at(6).get_string().value();
      Bar bar;
      bar.start_s = said.at(0).get_int64().value();
      double* numbers[] = {&bar.open, &bar.high, &bar.low, &bar.close, &bar.volume};
      for (std::size_t i = 0; i < 5; ++i) {
        if (said.at(i + 1).get(*numbers[i]) != simdjson::SUCCESS)
          *numbers[i] = std::numeric_limits<double>::quiet_NaN();
      }
      for (const BarState state :
           {BarState::open, BarState::complete, BarState::filled, BarState::incomplete, BarState::missing}) {
        if (words.substr(0, words.find(':')) == to_string(state)) bar.state = state;
      }
      expected.push_back(text_of(bar));
    }
    CHECK(texts_of(bars_of(engine, name)) == expected);
  }
}

TEST_SUITE_END();
