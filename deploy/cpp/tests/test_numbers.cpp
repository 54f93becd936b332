// The real service: the numbers are those that it computes, whichever way they travel.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "harness.h"

using namespace vinocast;

namespace {

/// Forecasts with the service alone: digits written by printf, read back by strtof, nothing of the client between.
std::vector<float> raw_forecast(const std::vector<float>& values) {
  const harness::Folder folder;
  {
    std::ofstream request(folder.path("request"));
    request << R"({"request_id": "raw", "past_values": [)";
    char digits[32];
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::snprintf(digits, sizeof digits, "%.9g", static_cast<double>(values[i]));
      request << (i % harness::channels > 0 ? "," : i > 0 ? "],[" : "[") << digits;
    }
    request << "]]}\n";
  }
  const std::string command =
      "'" + harness::program() + "' stdio < " + folder.path("request") + " > " + folder.path("reply") + " 2> /dev/null";
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream file(folder.path("reply"));
  const std::string reply{std::istreambuf_iterator<char>(file), {}};
  const std::size_t start = reply.find("\"predictions\"");
  REQUIRE(start != std::string::npos);
  std::vector<float> predictions;
  const char* at = reply.c_str() + reply.find('[', start);
  const char* end = std::strstr(at, "]]");
  while (at < end) {
    char* after = nullptr;
    const float value = std::strtof(at, &after);
    if (after == at) {
      ++at;
    } else {
      predictions.push_back(value);
      at = after;
    }
  }
  return predictions;
}

std::vector<float> floats_of(std::ifstream& file, std::size_t count) {
  std::vector<float> values(count);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(float)));
  if (!file) values.clear();
  return values;
}

}  // namespace

TEST_SUITE_BEGIN("numbers");

TEST_CASE("base64, JSON, a stream and the service alone give the same bits") {
  const std::vector<float> values = harness::window(1);
  const std::vector<float> expected = raw_forecast(values);
  REQUIRE(expected.size() == harness::horizon * harness::channels);

  InferenceEngine base64(harness::options());
  Options options = harness::options();
  options.encoding = Encoding::json;
  InferenceEngine json(options);
  ForecastRequest request = harness::forecast(values);
  request.timestamp_ms = 1705678900000;
  for (InferenceEngine* engine : {&base64, &json}) {
    const Reply reply = engine->predict(request);
    REQUIRE_MESSAGE(reply.ok(), reply.error.message);
    CHECK(reply.horizon == harness::horizon);
    CHECK(reply.targets == harness::channels);
    CHECK(reply.predictions == expected);
    CHECK(reply.timestamp_ms == request.timestamp_ms);
    CHECK(reply.model == engine->service().default_model);
    CHECK(reply.inference_ms > 0);
    CHECK(reply.round_trip.count() > 0);
  }

  // The first rows in one piece, the last ones one by one.
  ObserveRequest rows;
  rows.stream = "numbers";
  rows.rows = {values.data(), harness::context - 3, harness::channels};
  Reply observed = base64.observe(rows);
  REQUIRE_MESSAGE(observed.ok(), observed.error.message);
  CHECK(observed.rows == harness::context - 3);
  CHECK(observed.missing == 3);
  for (std::size_t row = harness::context - 3; row < harness::context; ++row) {
    rows.rows = {values.data() + row * harness::channels, 1, harness::channels};
    rows.timestamp_ms = static_cast<std::int64_t>(row);
    observed = base64.observe_async(rows).get();
    REQUIRE_MESSAGE(observed.ok(), observed.error.message);
  }
  CHECK(observed.missing == 0);
  ForecastRequest stream;
  stream.stream = "numbers";
  const Reply reply = base64.predict(stream);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.predictions == expected);
}

TEST_CASE("the numbers are those of a file that the Python side wrote") {
  // tests/deploy/test_cpp_client.py names it: windows [n][512][7], then forecasts [n][96][7], float32.
  const char* path = std::getenv("VINOCAST_EXPECTED");
  if (path == nullptr) return;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  REQUIRE(file);
  constexpr std::size_t of_window = harness::context * harness::channels;
  constexpr std::size_t of_forecast = harness::horizon * harness::channels;
  const auto size = static_cast<std::size_t>(file.tellg()) / sizeof(float);
  const std::size_t windows = size / (of_window + of_forecast);
  REQUIRE(windows > 0);
  REQUIRE(size == windows * (of_window + of_forecast));
  file.seekg(0);
  const std::vector<float> values = floats_of(file, windows * of_window);
  const std::vector<float> expected = floats_of(file, windows * of_forecast);
  REQUIRE_FALSE(expected.empty());
  InferenceEngine engine(harness::options());
  for (std::size_t i = 0; i < windows; ++i) {
    ForecastRequest request;
    request.window = {values.data() + i * of_window, harness::context, harness::channels};
    const Reply reply = engine.predict(request);
    REQUIRE_MESSAGE(reply.ok(), reply.error.message);
    CHECK(std::memcmp(reply.predictions.data(), expected.data() + i * of_forecast, of_forecast * sizeof(float)) == 0);
  }
}

TEST_CASE("only the targets that were asked for come back, in their order") {
  InferenceEngine engine(harness::options());
  const std::vector<std::string> names = engine.service().default_model_info().channels;
  REQUIRE(names.size() == harness::channels);
  const std::vector<float> values = harness::window(2);
  const Reply all = engine.predict(harness::forecast(values));
  const Reply some = engine.predict(harness::forecast(values, {names[6], names[0]}));
  REQUIRE(all.ok());
  REQUIRE(some.ok());
  CHECK(some.targets == 2);
  CHECK(some.horizon == harness::horizon);
  for (std::size_t step = 0; step < harness::horizon; ++step) {
    // Batches of another size may round differently in the last digit.
    CHECK(some.at(step, 0) == doctest::Approx(all.at(step, 6)).epsilon(1e-4));
    CHECK(some.at(step, 1) == doctest::Approx(all.at(step, 0)).epsilon(1e-4));
  }
}

TEST_CASE("the service's errors say what is wrong and where") {
  Options options = harness::options();
  options.encoding = Encoding::json;
  InferenceEngine engine(options);
  std::vector<float> values = harness::window(3);

  const std::vector<float> few(values.begin(), values.begin() + 500 * harness::channels);
  Reply reply = engine.predict(harness::forecast(few));
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "invalid_shape");
  CHECK(reply.error.field == "past_values");
  CHECK_FALSE(reply.error.retryable);
  CHECK(reply.error.message.find("512") != std::string::npos);
  CHECK(reply.predictions.empty());

  values[3 * harness::channels + 2] = std::numeric_limits<float>::quiet_NaN();
  reply = engine.predict(harness::forecast(values));
  CHECK(reply.error.code == "invalid_value");
  CHECK(reply.error.field == "past_values[3][2]");

  values = harness::window(3);
  CHECK(engine.predict(harness::forecast(values, {"no such \"channel\"\n"})).error.code == "unknown_target");
  ForecastRequest request = harness::forecast(values);
  request.model = "no such model";
  CHECK(engine.predict(request).error.code == "unknown_model");
  CHECK(engine.predict(ForecastRequest{}).error.code == "invalid_request");
  // Latin-1, of which no JSON can be made: refused here.
  reply = engine.predict(harness::forecast(values, {"OT", "\xFCmlaut"}));
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "invalid_request");
  CHECK(reply.error.field == "targets");
  request = {};
  request.stream = "never seen";
  CHECK(engine.predict(request).error.code == "unknown_stream");

  ObserveRequest row;
  row.stream = "short";
  row.rows = {values.data(), 1, harness::channels};
  row.timestamp_ms = 10;
  CHECK(engine.observe(row).missing == harness::context - 1);
  request.stream = "short";
  CHECK(engine.predict(request).error.code == "not_enough_history");
  row.timestamp_ms = 9;
  CHECK(engine.observe(row).error.code == "stale_timestamp");
  CHECK(engine.counters().service_errors == 9);
  CHECK(engine.counters().garbage_lines == 0);
}

TEST_CASE("a future and a callback give what a blocking call gives") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(4);
  const ForecastRequest request = harness::forecast(values);
  const Reply blocking = engine.predict(request);
  REQUIRE(blocking.ok());
  std::future<Reply> future = engine.predict_async(request);
  harness::Replies replies;
  const std::uint64_t id = engine.predict(request, replies.collector());
  CHECK(future.get().predictions == blocking.predictions);
  const std::vector<Reply> came = replies.wait(1);
  REQUIRE(came.size() == 1);
  CHECK(came[0].id == id);
  CHECK(came[0].predictions == blocking.predictions);
}

TEST_SUITE_END();
