// Many requests: each is answered once, with its own id and its own numbers.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>

#include "harness.h"

using namespace vinocast;

namespace {

constexpr std::size_t kinds = 32;

/// Forecasts of different windows, and what the service says of each when it is asked alone.
struct Questions {
  explicit Questions(InferenceEngine& engine) {
    const std::string target = engine.service().default_model_info().channels.back();
    for (std::size_t i = 0; i < kinds; ++i) windows.push_back(harness::window(static_cast<std::uint32_t>(100 + i)));
    for (const std::vector<float>& values : windows) {
      requests.push_back(harness::forecast(values, {target}));
      const Reply reply = engine.predict(requests.back());
      REQUIRE_MESSAGE(reply.ok(), reply.error.message);
      for (const std::vector<float>& other : answers) REQUIRE(other != reply.predictions);
      answers.push_back(reply.predictions);
    }
  }
  std::vector<std::vector<float>> windows;
  std::vector<ForecastRequest> requests;
  std::vector<std::vector<float>> answers;
};

}  // namespace

TEST_SUITE_BEGIN("load");

TEST_CASE("many predictions with eight in flight") {
  const char* asked = std::getenv("VINOCAST_TEST_PREDICTIONS");
  const auto predictions = static_cast<std::size_t>(asked != nullptr ? std::atol(asked) : 3000);
  constexpr std::size_t in_flight = 8;
  Options options = harness::options();
  options.max_in_flight = in_flight;
  InferenceEngine engine(options);
  const Questions questions(engine);

  struct Answer {
    std::uint64_t reply_id = 0;
    int times = 0;
    bool good = false;
  };
  std::vector<Answer> answers(predictions);
  std::vector<std::uint64_t> ids(predictions);
  std::mutex mutex;
  std::condition_variable fewer;
  std::size_t waiting = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < predictions; ++i) {
    {
      std::unique_lock<std::mutex> lock(mutex);
      fewer.wait(lock, [&] { return waiting < in_flight; });
      most = std::max(most, ++waiting);
    }
    ForecastRequest request = questions.requests[i % kinds];
    request.timestamp_ms = static_cast<std::int64_t>(i);
    ids[i] = engine.predict(request, [&, i](Reply&& reply) {
      const std::lock_guard<std::mutex> lock(mutex);
      Answer& answer = answers[i];
      answer.reply_id = reply.id;
      ++answer.times;
      answer.good = reply.ok() && reply.timestamp_ms == static_cast<std::int64_t>(i) &&
                    reply.predictions == questions.answers[i % kinds];
      --waiting;
      fewer.notify_one();
    });
  }
  {
    std::unique_lock<std::mutex> lock(mutex);
    fewer.wait(lock, [&] { return waiting == 0; });
  }
  engine.close();  // from here on no callback runs
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < predictions; ++i) {
    wrong += answers[i].times != 1 || !answers[i].good || answers[i].reply_id != ids[i] ? 1 : 0;
  }
  CHECK(wrong == 0);
  CHECK(most == in_flight);
  CHECK(std::set<std::uint64_t>(ids.begin(), ids.end()).size() == predictions);
  CHECK(engine.counters().answered == predictions + kinds);
  CHECK(engine.counters().garbage_lines == 0);
}

TEST_CASE("several threads share one engine, each gets its own answers") {
  Options options = harness::options();
  InferenceEngine engine(options);
  const Questions questions(engine);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t i = 0; i < 60; ++i) {
        const std::size_t kind = (i * 4 + thread) % kinds;
        Reply reply;
        if (i % 2 == 0) {
          reply = engine.predict(questions.requests[kind]);
        } else {
          reply = engine.predict_async(questions.requests[kind]).get();
        }
        if (!reply.ok() || reply.predictions != questions.answers[kind]) ++wrong;
        engine.counters();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("closing while other threads send: every request ends") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(17);
  const ForecastRequest request = harness::forecast(values, {"OT"});
  std::atomic<int> ended{0};
  std::atomic<int> odd{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const Reply reply = engine.predict(request);
        ++ended;
        if (reply.outcome != Outcome::answered && reply.outcome != Outcome::unavailable) ++odd;
      }
    });
  }
  harness::eventually([&] { return ended > 30; });
  engine.close();
  for (std::thread& thread : threads) thread.join();
  CHECK(ended == 300);
  CHECK(odd == 0);
}

TEST_SUITE_END();
