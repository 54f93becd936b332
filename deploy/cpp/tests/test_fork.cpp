// Processes that this program forks while an engine runs: the service is its own, whatever they do.
#include <atomic>
#include <csignal>
#include <iostream>
#include <memory>
#include <thread>

#include <sys/wait.h>

#include "harness.h"

using namespace vinocast;
using harness::Clock;
using harness::milliseconds;
using harness::seconds;

namespace {

/// Runs `body` in a forked child, for a minute at most, and returns the exit status it gives; -1 when it was killed.
template <typename Body>
int in_child(Body&& body) {
  std::cout.flush();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::_exit(body());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Destroyed by exit(), as a global one is.
std::unique_ptr<InferenceEngine> global_engine;

#ifdef __SANITIZE_THREAD__
constexpr bool may_start_threads_after_fork = false;
#else
constexpr bool may_start_threads_after_fork = true;
#endif

}  // namespace

TEST_SUITE_BEGIN("fork");

TEST_CASE("a child's destructors leave the service alone, and close what the child has of it") {
  const std::vector<int> open = harness::descriptors();
  global_engine = std::make_unique<InferenceEngine>(harness::options());
  const int pid = global_engine->service().pid;
  CHECK(in_child([&] {
          global_engine->close();
          global_engine.reset();
          return harness::descriptors() == open ? 3 : 4;
        }) == 3);
  // As after an exec that failed.
  CHECK(in_child([]() -> int { std::exit(127); }) == 127);
  CHECK(harness::exists(pid));
  const std::vector<float> values = harness::window(21);
  CHECK(global_engine->predict(harness::forecast(values)).ok());
  CHECK(global_engine->service().pid == pid);
  CHECK(global_engine->counters().restarts == 0);
  global_engine.reset();
  CHECK_FALSE(harness::exists(pid));
}

TEST_CASE("children of a busy program: their requests are unavailable at once, and the program's are its own") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(22);
  const ForecastRequest request = harness::forecast(values, {"OT"});
  const Reply expected = engine.predict(request);
  REQUIRE(expected.ok());
  std::atomic<bool> go_on{true};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&] {
      while (go_on) wrong += engine.predict(request).predictions != expected.predictions ? 1 : 0;
    });
  }
  // One of them is forked while a thread holds the lock.
  for (int child = 0; child < 30; ++child) {
    const int failed = in_child([&] {
      const auto start = Clock::now();
      if (engine.predict(request).outcome != Outcome::unavailable) return 1;
      if (engine.predict_async(request).get().outcome != Outcome::unavailable) return 2;
      ObserveRequest row;
      row.stream = "s";
      row.rows = {values.data(), 1, harness::channels};
      const Reply observed = engine.observe(row);
      if (observed.outcome != Outcome::unavailable || observed.error.message.find("forked") == std::string::npos) {
        return 3;
      }
      if (engine.service().ready || engine.counters().answered != 0) return 4;
      return Clock::now() - start < seconds(20) ? 0 : 5;
    });
    CHECK(failed == 0);
  }
  go_on = false;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(engine.counters().garbage_lines == 0);
  CHECK(engine.counters().restarts == 0);
}

TEST_CASE("a daemon makes an engine of its own") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(23);
  Pipe report = make_pipe();
  CHECK(in_child([&] {
          if (::daemon(1, 1) != 0) return 1;
          ::alarm(60);
          std::string said = to_string(engine.predict(harness::forecast(values)).outcome);
          if (may_start_threads_after_fork) {
            InferenceEngine own(harness::options());
            said += std::string(" ") + to_string(own.predict(harness::forecast(values)).outcome);
          }
          return ::write(report.write.get(), said.data(), said.size()) > 0 ? 0 : 2;
        }) == 0);
  report.write.reset();
  std::string said;
  char buffer[100];
  for (ssize_t size = 0; (size = ::read(report.read.get(), buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<std::size_t>(size));
  }
  CHECK(said == (may_start_threads_after_fork ? "unavailable answered" : "unavailable"));
  CHECK(engine.predict(harness::forecast(values)).ok());
}

TEST_CASE("a child that returns from the callback which forked it ends there") {
  InferenceEngine engine(harness::options());
  const std::vector<float> values = harness::window(24);
  std::promise<pid_t> forked;
  engine.predict(harness::forecast(values), [&](Reply&&) {
    const pid_t child = ::fork();
    if (child != 0) forked.set_value(child);
  });
  int status = 0;
  const pid_t child = forked.get_future().get();
  REQUIRE(child > 0);
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == EXIT_FAILURE);
  CHECK(engine.predict(harness::forecast(values)).ok());
  CHECK(engine.counters().restarts == 0);
}

TEST_SUITE_END();
