// Start, death, restart, close.
#include <algorithm>
#include <csignal>
#include <set>

#include "harness.h"

using namespace vinocast;
using harness::Clock;
using harness::milliseconds;
using harness::seconds;

namespace {

/// The message with which a start fails.
std::string start_error(const Options& options) {
  try {
    InferenceEngine engine(options);
  } catch (const StartError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Keeps what an engine tells.
struct Events {
  std::function<void(const Event&)> keeper() {
    return [this](const Event& event) {
      const std::lock_guard<std::mutex> lock(mutex);
      events.push_back(event);
    };
  }
  std::vector<Event> of(Event::Kind kind) {
    const std::lock_guard<std::mutex> lock(mutex);
    std::vector<Event> found;
    for (const Event& event : events) {
      if (event.kind == kind) found.push_back(event);
    }
    return found;
  }
  std::mutex mutex;
  std::vector<Event> events;
};

}  // namespace

TEST_SUITE_BEGIN("lifecycle");

TEST_CASE("a service that cannot start is an error that says why") {
  const harness::Folder folder;
  Options options = harness::options();

  options.program = folder.path("missing");
  CHECK(contains(start_error(options), "missing: No such file or directory"));

  options.program = folder.script("exit 3");
  CHECK(contains(start_error(options), "ended with exit code 3 before it was ready"));

  options.program = folder.script("kill -9 $$");
  CHECK(contains(start_error(options), "was killed by signal 9"));

  options.program = folder.script("exec 1>&-; exec sleep 60");
  CHECK(contains(start_error(options), "closed its output"));

  options.program = folder.script(
      R"(echo '{"request_id":0,"ready":false,"default_model":"m","models":[{"name":"m","error":"a wrong hash"}]}'; )"
      "exec sleep 60");
  CHECK(contains(start_error(options), "refused its default model: a wrong hash"));

  options.start_timeout = milliseconds(200);
  options.program = folder.script("exec sleep 60");
  const auto start = Clock::now();
  CHECK(contains(start_error(options), "was not ready after 200 ms"));
  CHECK(Clock::now() - start < seconds(20));

  options = harness::options();
  options.arguments = {"--models", folder.path("missing")};
  CHECK_FALSE(start_error(options).empty());
}

TEST_CASE("the service says what it serves") {
  InferenceEngine engine(harness::options());
  const ServiceInfo info = engine.service();
  CHECK(info.ready);
  CHECK(info.generation == 1);
  CHECK(harness::exists(info.pid));
  CHECK_FALSE(info.version.empty());
  const ModelInfo model = info.default_model_info();
  CHECK(model.state == "ready");
  CHECK(model.context == harness::context);
  CHECK(model.horizon == harness::horizon);
  CHECK(model.channels.size() == harness::channels);
}

TEST_CASE("what a killed service had is lost, reported once, and the next one answers") {
  Events events;
  Options options = harness::options();
  options.on_event = events.keeper();
  InferenceEngine engine(options);
  const std::vector<float> values = harness::window(5);
  const Reply before = engine.predict(harness::forecast(values));
  REQUIRE(before.ok());
  const int pid = engine.service().pid;

  // Stopped, it answers none of what it is sent; so all of it is in flight when it dies.
  ::kill(pid, SIGSTOP);
  harness::Replies replies;
  std::set<std::uint64_t> sent;
  for (int i = 0; i < 16; ++i) sent.insert(engine.predict(harness::forecast(values), replies.collector()));
  REQUIRE(sent.size() == 16);
  ::kill(pid, SIGKILL);
  const std::vector<Reply> lost = replies.wait(16);
  REQUIRE(lost.size() == 16);
  for (const Reply& reply : lost) {
    CHECK(reply.outcome == Outcome::lost);
    CHECK(contains(reply.error.message, "signal 9"));
    CHECK(sent.erase(reply.id) == 1);
  }
  CHECK(sent.empty());

  const Reply after = engine.predict(harness::forecast(values));
  REQUIRE_MESSAGE(after.ok(), after.error.message);
  CHECK(after.predictions == before.predictions);
  CHECK(engine.service().pid != pid);
  CHECK(engine.service().generation == 2);
  CHECK(replies.wait(16).size() == 16);
  CHECK(engine.counters().lost == 16);
  CHECK(engine.counters().restarts == 1);
  const std::vector<Event> died = events.of(Event::Kind::died);
  REQUIRE(died.size() == 1);
  CHECK(died[0].generation == 1);
  std::set<std::uint64_t> told(died[0].lost.begin(), died[0].lost.end());
  CHECK(told.size() == 16);
  for (const Reply& reply : lost) CHECK(told.count(reply.id) == 1);
  CHECK(harness::eventually([&] { return events.of(Event::Kind::ready).size() == 2; }));
}

TEST_CASE("killed at any moment: each request ends once, answered or lost") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(6);
  for (int round = 0; round < 3; ++round) {
    harness::Replies replies;
    std::set<std::uint64_t> ids;
    for (int i = 0; i < 24; ++i) ids.insert(engine.predict(harness::forecast(values), replies.collector()));
    replies.wait(static_cast<std::size_t>(round) * 3 + 1);
    ::kill(engine.service().pid, SIGKILL);
    // These meet a dead service, none at all, or the next one.
    for (int i = 0; i < 24; ++i) ids.insert(engine.predict(harness::forecast(values), replies.collector()));
    REQUIRE(replies.wait(48).size() == 48);
    std::this_thread::sleep_for(milliseconds(50));
    const std::vector<Reply> all = replies.wait(48);
    REQUIRE(all.size() == 48);
    for (const Reply& reply : all) CHECK(ids.erase(reply.id) == 1);
    CHECK(harness::count(all, Outcome::answered) + harness::count(all, Outcome::lost) == 48);
    CHECK(harness::count(all, Outcome::lost) > 0);
    CHECK(engine.predict(harness::forecast(values)).ok());
  }
}

TEST_CASE("the streams of a dead service are gone, which the reply to the next row tells") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(7);
  ObserveRequest rows;
  rows.stream = "candles";
  rows.rows = {values.data(), harness::context, harness::channels};
  rows.timestamp_ms = 1000;
  REQUIRE(engine.observe(rows).missing == 0);
  ::kill(engine.service().pid, SIGKILL);
  REQUIRE(harness::eventually([&] { return engine.service().generation == 2; }));
  rows.rows.rows = 1;
  rows.timestamp_ms = 2000;
  Reply reply = engine.observe(rows);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.missing == harness::context - 1);
  // As the example does it: the history again, without a timestamp.
  rows.rows.rows = harness::context;
  rows.timestamp_ms.reset();
  CHECK(engine.observe(rows).missing == 0);
  ForecastRequest forecast;
  forecast.stream = "candles";
  reply = engine.predict(forecast);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.predictions == engine.predict(harness::forecast(values)).predictions);
}

TEST_CASE("restarts pause longer each time, and end") {
  const harness::Folder folder;
  Events events;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + "; read request; exit 4");
  options.on_event = events.keeper();
  options.first_backoff = milliseconds(10);
  options.max_backoff = milliseconds(25);
  options.max_restarts = 3;
  InferenceEngine engine(options);
  const float value = 1;
  ForecastRequest request;
  request.window = {&value, 1, 1};
  // Each process takes one request with it.
  for (int i = 0; i < 4; ++i) {
    const Reply reply = engine.predict(request);
    CHECK(reply.outcome == Outcome::lost);
    CHECK(contains(reply.error.message, "exit code 4"));
  }
  REQUIRE(harness::eventually([&] { return !events.of(Event::Kind::gave_up).empty(); }));
  CHECK(engine.predict(request).outcome == Outcome::unavailable);
  const std::vector<Event> died = events.of(Event::Kind::died);
  REQUIRE(died.size() == 3);
  CHECK(died[0].restart_in == milliseconds(10));
  CHECK(died[1].restart_in == milliseconds(20));
  CHECK(died[2].restart_in == milliseconds(25));
  CHECK(events.of(Event::Kind::ready).size() == 4);
}

TEST_CASE("pauses between starts that fail do not make the service sound") {
  const harness::Folder folder;
  Events events;
  Options options = harness::options();
  // Ready once, and never again.
  options.program = folder.script("[ -e \"$0.begun\" ] && exit 3; : > \"$0.begun\"; read ping; " + harness::pong +
                                  "; read request; exit 4");
  options.on_event = events.keeper();
  options.first_backoff = options.max_backoff = milliseconds(200);
  options.stable_after = milliseconds(500);
  options.max_restarts = 5;
  InferenceEngine engine(options);
  const float value = 1;
  ForecastRequest request;
  request.window = {&value, 1, 1};
  CHECK(engine.predict(request).outcome == Outcome::lost);
  REQUIRE(harness::eventually([&] { return !events.of(Event::Kind::gave_up).empty(); }));
  CHECK(engine.counters().restarts == 5);
  CHECK(contains(events.of(Event::Kind::gave_up)[0].message, "exit code 3 before it was ready"));
}

TEST_CASE("closing answers what was accepted, and then the process is gone") {
  Options options = harness::options();
  harness::Replies replies;
  const std::vector<float> values = harness::window(8);
  int pid = 0;
  {
    InferenceEngine engine(options);
    pid = engine.service().pid;
    for (int i = 0; i < 20; ++i) engine.predict(harness::forecast(values), replies.collector());
  }
  const std::vector<Reply> all = replies.wait(20);
  CHECK(harness::count(all, Outcome::answered) == 20);
  CHECK(all.size() == 20);
  CHECK_FALSE(harness::exists(pid));
}

TEST_CASE("closing is final, and may be repeated") {
  InferenceEngine engine(harness::options());
  const int pid = engine.service().pid;
  engine.close();
  engine.close();
  CHECK_FALSE(harness::exists(pid));
  const std::vector<float> values = harness::window(9);
  const Reply reply = engine.predict(harness::forecast(values));
  CHECK(reply.outcome == Outcome::unavailable);
  CHECK(reply.id == 0);
  CHECK(engine.predict_async(harness::forecast(values)).get().outcome == Outcome::unavailable);
}

TEST_CASE("closing while the service restarts does not wait for it") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + "; read request; exit 4");
  options.first_backoff = options.max_backoff = milliseconds(60'000);
  InferenceEngine engine(options);
  const float value = 1;
  ForecastRequest request;
  request.window = {&value, 1, 1};
  CHECK(engine.predict(request).outcome == Outcome::lost);
  std::future<Reply> held = engine.predict_async(request);
  const auto start = Clock::now();
  engine.close();
  CHECK(Clock::now() - start < seconds(5));
  CHECK(held.get().outcome == Outcome::unavailable);
}

TEST_CASE("a service that will not end is killed within the bounds, with requests outstanding") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("trap '' TERM; read ping; " + harness::pong + "; while :; do sleep 1; done");
  options.drain_timeout = milliseconds(100);
  options.terminate_timeout = milliseconds(100);
  harness::Replies replies;
  int pid = 0;
  const auto start = Clock::now();
  {
    InferenceEngine engine(options);
    pid = engine.service().pid;
    const float value = 1;
    ForecastRequest request;
    request.window = {&value, 1, 1};
    for (int i = 0; i < 5; ++i) engine.predict(request, replies.collector());
  }
  CHECK(Clock::now() - start < seconds(10));
  const std::vector<Reply> all = replies.wait(5);
  CHECK(all.size() == 5);
  CHECK(harness::count(all, Outcome::lost) == 5);
  CHECK_FALSE(harness::exists(pid));
}

TEST_CASE("a callback may send more, and may not wait") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(10);
  const ForecastRequest request = harness::forecast(values);
  std::promise<bool> refused;
  harness::Replies replies;
  engine.predict(request, [&](Reply&&) {
    try {
      engine.predict(request);
      refused.set_value(false);
    } catch (const std::logic_error&) {
      refused.set_value(true);
    }
    engine.predict(request, replies.collector());
  });
  CHECK(refused.get_future().get());
  CHECK(harness::count(replies.wait(1), Outcome::answered) == 1);
}

TEST_SUITE_END();
