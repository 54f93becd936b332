// Forecasts that a service sends by itself, between replies: from scripts that stand in for it.
#include "harness.h"

using namespace vinocast;

namespace {

/// Collects what is pushed, and what the requests are answered with.
struct Heard {
  std::mutex mutex;
  std::vector<Reply> pushed;

  std::size_t count() {
    const std::lock_guard<std::mutex> lock(mutex);
    return pushed.size();
  }
};

/// Answers each line, and pushes a forecast and an error around it.
std::string pushing_service() {
  return "read ping; " + harness::pong + R"(
while read line; do
  id=${line#*:}; id=${id%%,*}
  echo '{"op":"forecast","stream":"A@5m","predictions":[[1.5]],"channels":["close"],"model":"m","success":true}'
  echo "{\"request_id\":$id,\"success\":true,\"counts\":{\"seen\":1}}"
  echo '{"op":"forecast","stream":"B@5m","success":false,"error":{"code":"not_enough_history","message":"7 bars are missing","field":null,"retryable":true}}'
done)";
}

}  // namespace

TEST_SUITE_BEGIN("pushes");

TEST_CASE("a pushed forecast goes to its handler, and is never taken for a reply") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script(pushing_service());
  Heard heard;
  options.on_forecast = [&](Reply&& forecast) {
    const std::lock_guard<std::mutex> lock(heard.mutex);
    heard.pushed.push_back(std::move(forecast));
  };
  InferenceEngine engine(options);
  constexpr std::size_t fed = 20;
  for (std::size_t i = 0; i < fed; ++i) {
    // Alone in flight, where an error without an id would be taken for its answer.
    const Reply reply = engine.feed(R"({"type":"match"})");
    REQUIRE(reply.ok());
    CHECK(reply.id != 0);
    CHECK(reply.counts.seen == 1);
    CHECK(reply.predictions.empty());
  }
  REQUIRE(harness::eventually([&] { return heard.count() == 2 * fed; }));
  for (std::size_t i = 0; i < fed; ++i) {
    const Reply& forecast = heard.pushed[2 * i];
    CHECK(forecast.ok());
    CHECK(forecast.id == 0);
    CHECK(forecast.stream == "A@5m");
    CHECK(forecast.at(0) == 1.5F);
    const Reply& error = heard.pushed[2 * i + 1];
    CHECK(error.outcome == Outcome::service_error);
    CHECK(error.stream == "B@5m");
    CHECK(error.error.code == "not_enough_history");
  }
  CHECK(engine.counters().pushed == 2 * fed);
  CHECK(engine.counters().answered == fed);
  CHECK(engine.counters().garbage_lines == 0);
}

TEST_CASE("without a handler they are counted and dropped") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script(pushing_service());
  InferenceEngine engine(options);
  REQUIRE(engine.feed("{}").ok());
  CHECK(harness::eventually([&] { return engine.counters().pushed == 2; }));
  CHECK(engine.counters().garbage_lines == 0);
}

TEST_CASE("what is nearly one is garbage") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + R"(
echo '{"op":"forecast","success":true,"predictions":[[1.5]]}'
echo '{"op":"bars","stream":"A@5m","success":true}'
echo '{"op":"forecast","stream":"A@5m"}'
echo '{"op":"forecast","stream":"A@5m","success":true,"predictions":[[1],[1,2]]}'
echo '{"request_id":null,"op":"forecast","stream":"A@5m","success":true}'
echo '{"request_id":424242,"op":"forecast","stream":"A@5m","success":true}'
while read line; do :; done)");
  bool called = false;
  options.on_forecast = [&](Reply&&) { called = true; };
  InferenceEngine engine(options);
  CHECK(harness::eventually([&] { return engine.counters().garbage_lines == 6; }));
  CHECK(engine.counters().pushed == 0);
  engine.close();
  CHECK_FALSE(called);
}

TEST_CASE("a handler that is slow holds the engine's reading back, and loses nothing") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + R"(
i=0; while [ $i -lt 3000 ]; do
  echo "{\"op\":\"forecast\",\"stream\":\"$i@5m\",\"success\":true,\"predictions\":[[$i]]}"; i=$((i+1))
done
while read line; do :; done)");
  std::vector<float> values;
  options.on_forecast = [&](Reply&& forecast) {
    if (values.size() % 1000 == 0) std::this_thread::sleep_for(harness::milliseconds(20));
    values.push_back(forecast.at(0));
  };
  InferenceEngine engine(options);
  CHECK(harness::eventually([&] { return engine.counters().pushed == 3000; }));
  engine.close();
  REQUIRE(values.size() == 3000);
  for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(values[i] == static_cast<float>(i));
}

TEST_CASE("a line that is longer than the service takes is refused, and nothing is sent") {
  const harness::Folder folder;
  Options options = harness::options();
  std::string pong = harness::pong;
  pong.insert(pong.find("\"models\""), "\"max_request_bytes\":1000,");
  options.program = folder.script("read ping; " + pong + R"(
while read line; do id=${line#*:}; id=${id%%,*}; echo "{\"request_id\":$id,\"success\":true}"; done)");
  InferenceEngine engine(options);
  CHECK(engine.service().max_request_bytes == 1000);
  const std::string message = R"({"text":")" + std::string(990, 'x') + "\"}";
  const Reply reply = engine.feed(message);
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "line_too_long");
  CHECK(engine.feed("{}").ok());
  CHECK(engine.counters().service_errors == 1);
}

TEST_SUITE_END();
