// Bars from the feed's candles.
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "harness.h"
#include "vinocast/candles.h"

using namespace vinocast;

namespace {

constexpr std::int64_t bucket = CandleBars::bucket_s;

std::string candle(std::int64_t start, const std::string& close, const std::string& volume = "5",
                   const std::string& product = "BTC-USD") {
  return R"({"start":")" + std::to_string(start) + R"(","open":"3","high":"9","low":"1","close":")" + close +
         R"(","volume":")" + volume + R"(","product_id":")" + product + R"("})";
}

std::string message(const std::string& type, const std::string& candles) {
  return R"({"channel":"candles","sequence_num":0,"events":[{"type":")" + type + R"(","candles":[)" + candles + "]}]}";
}

/// A bar in one line.
std::string text_of(const Bar& bar) {
  const char* states[] = {"complete", "missing", "open"};
  char text[200];
  std::snprintf(text, sizeof text, "%lld %g %g %g %g %g %s", static_cast<long long>(bar.start_s), bar.open, bar.high,
                bar.low, bar.close, bar.volume, states[static_cast<int>(bar.state)]);
  return text;
}

std::vector<std::string> texts_of(const std::vector<Bar>& bars) {
  std::vector<std::string> texts;
  for (const Bar& bar : bars) texts.push_back(text_of(bar));
  return texts;
}

}  // namespace

TEST_SUITE_BEGIN("candles");

TEST_CASE("the last word on a bucket counts, a hole is missing data, and the newest is open") {
  CandleBars feed("BTC-USD");
  CHECK(feed.bars().empty());
  feed.add(message("snapshot", candle(0, "4") + "," + candle(3 * bucket, "5")));
  feed.add(message("update", candle(3 * bucket, "6", "7")));
  feed.add(message("update", candle(4 * bucket, "7")));
  CHECK(texts_of(feed.bars()) == std::vector<std::string>{"0 3 9 1 4 5 complete", "300 4 4 4 4 0 missing",
                                                          "600 4 4 4 4 0 missing", "900 3 9 1 6 7 complete",
                                                          "1200 3 9 1 7 5 open"});
  // From any place on, also from within a hole.
  CHECK(texts_of(feed.bars(300)) ==
        std::vector<std::string>{"600 4 4 4 4 0 missing", "900 3 9 1 6 7 complete", "1200 3 9 1 7 5 open"});
  CHECK(texts_of(feed.bars(900)) == std::vector<std::string>{"1200 3 9 1 7 5 open"});
  CHECK(feed.bars(1200).empty());
  // A bar that was complete is corrected.
  feed.add(message("update", candle(3 * bucket, "6.5", "8")));
  CHECK(text_of(feed.bars()[3]) == "900 3 9 1 6.5 8 complete");
  CHECK(feed.counts().re_sent_closed_bucket == 1);
  CHECK(feed.counts().used == 4);
}

TEST_CASE("a snapshot that does not reach back begins anew, one that does goes on") {
  CandleBars feed("BTC-USD");
  feed.add(message("snapshot", candle(0, "4") + "," + candle(bucket, "4")));
  feed.add(message("snapshot", candle(bucket, "5") + "," + candle(2 * bucket, "5")));
  CHECK(feed.bars().size() == 3);
  CHECK(feed.counts().restarts == 0);
  feed.add(message("snapshot", candle(3 * bucket, "5") + "," + candle(4 * bucket, "5")));
  CHECK(feed.bars().size() == 2);
  CHECK(feed.counts().restarts == 1);
  CHECK(feed.counts().re_sent_closed_bucket == 0);
}

TEST_CASE("a message is taken whole or refused whole, and never ends the feed") {
  CandleBars feed("BTC-USD");
  feed.add(message("snapshot", candle(0, "4")));
  for (const std::string& bad : {std::string("no JSON"), std::string("[]"), std::string(R"({"channel":"candles"})"),
                                 message("update", candle(bucket, "5") + "," + candle(2 * bucket, "nan")),
                                 message("update", candle(bucket, "inf")), message("update", candle(bucket, "1e999")),
                                 message("update", candle(bucket, "")), message("update", candle(bucket, "4", "-1")),
                                 message("update", candle(bucket + 1, "4")), message("update", candle(-bucket, "4")),
                                 message("update", candle(bucket << 50U, "4")),
                                 // More than a week without a candle.
                                 message("update", candle(2017 * bucket, "4"))}) {
    CAPTURE(bad);
    const std::size_t refused = feed.counts().refused;
    feed.add(bad);
    CHECK(feed.counts().refused == refused + 1);
  }
  feed.add(R"({"type":"error","message":"too many requests"})");
  feed.add(R"({"channel":"heartbeats","events":[{"heartbeat_counter":7}]})");
  feed.add(message("update", candle(bucket, "1e-8") + "," + candle(bucket, "7", "1", "ETH-USD")));
  CHECK(texts_of(feed.bars()) == std::vector<std::string>{"0 3 9 1 4 5 complete", "300 3 9 1 1e-08 5 open"});
  CHECK(feed.counts().errors == 1);
  CHECK(feed.counts().ignored == 1);
  CHECK(feed.other_products() == std::set<std::string>{"ETH-USD"});
}

TEST_CASE("what is kept is bounded") {
  CandleBars feed("BTC-USD", 3);
  for (int step = 0; step < 10; ++step) feed.add(message("update", candle(step * bucket, "4")));
  CHECK(feed.bars().size() == 3);
  CHECK(feed.bars()[0].start_s == 7 * bucket);
}

TEST_CASE("the sequence of faults that the project keeps gives the bars that it says") {
  const char* path = std::getenv("VINOCAST_FEED_FAULTS");
  if (path == nullptr) return;
  simdjson::dom::parser parser;
  simdjson::dom::element faults;
  REQUIRE(parser.load(path).get(faults) == simdjson::SUCCESS);
  const simdjson::dom::element fault = faults["candles_upsert_and_hole"];
  CandleBars feed(std::string(fault["product"].get_string().value()));
  for (const simdjson::dom::element one : fault["messages"].get_array()) feed.add(simdjson::minify(one));
  const std::vector<Bar> bars = feed.bars();
  REQUIRE(bars.size() == fault["bars"].get_array().size());
  std::size_t i = 0;
  for (const simdjson::dom::element expected : fault["bars"].get_array()) {
    const Bar& bar = bars[i++];
    std::string said(expected.at(6).get_string().value());
    said.resize(std::min(said.find(':'), said.size()));
    CHECK(bar.start_s == expected.at(0).get_int64().value());
    if (said == "missing") {
      CHECK(bar.state == BarState::missing);
      continue;
    }
    CHECK(text_of(bar).find(said) != std::string::npos);
    CHECK(bar.open == expected.at(1).get_double().value());
    CHECK(bar.high == expected.at(2).get_double().value());
    CHECK(bar.low == expected.at(3).get_double().value());
    CHECK(bar.close == expected.at(4).get_double().value());
    CHECK(bar.volume == expected.at(5).get_double().value());
  }
  CHECK(feed.counts().re_sent_closed_bucket == fault["counts"]["re_sent_closed_bucket"].get_uint64().value());
}

TEST_SUITE_END();
