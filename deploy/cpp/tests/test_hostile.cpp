// A service that babbles, stands still or lies, and a program that forks around it.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>

#include <sys/socket.h>
#include <sys/wait.h>

#include "harness.h"

using namespace vinocast;
using harness::Clock;
using harness::milliseconds;
using harness::seconds;

TEST_SUITE_BEGIN("hostile");

TEST_CASE("garbage on standard output is counted and skipped, and standard error is handed over") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script(R"(
echo 'not JSON'; echo; echo '{"half": '; printf '\377\376\n'; echo '{"request_id": 999999, "success": true}'
echo 'starting' >&2
(i=0; while [ $i -lt 300 ]; do echo "garbage $i"; echo "noise $i" >&2; i=$((i+1)); sleep 0.01; done) &
exec "$PROGRAM" "$@")");
  std::mutex mutex;
  std::size_t noise = 0;
  options.on_stderr = [&](std::string_view line) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (line == "starting" || line.substr(0, 5) == "noise") ++noise;
  };
  InferenceEngine engine(options);
  CHECK(engine.counters().garbage_lines >= 4);
  const std::vector<float> values = harness::window(11);
  // One target: a reply below PIPE_BUF, which two writers of a pipe cannot mix.
  for (int i = 0; i < 50; ++i) {
    const Reply reply = engine.predict(harness::forecast(values, {"OT"}));
    REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  }
  CHECK(harness::eventually([&] { return engine.counters().garbage_lines >= 6; }));
  CHECK(engine.counters().answered == 50);
  CHECK(engine.counters().restarts == 0);
  CHECK(harness::eventually([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return noise > 2;
  }));
}

TEST_CASE("a reply that comes twice, or is malformed, ends its request once") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + R"(
while read line; do
  id=${line#*:}; id=${id%%,*}
  case $line in
    *'"stream":"bad"'*) echo "{\"request_id\":$id,\"success\":true,\"predictions\":[[1,2],[3]]}";;
    *) reply="{\"request_id\":$id,\"success\":true,\"predictions\":[[1.5]]}"; echo "$reply"; echo "$reply";;
  esac
done)");
  InferenceEngine engine(options);
  ForecastRequest request;
  request.stream = "good";
  for (int i = 0; i < 20; ++i) {
    const Reply reply = engine.predict(request);
    REQUIRE(reply.ok());
    CHECK(reply.at(0) == 1.5F);
  }
  request.stream = "bad";
  const Reply reply = engine.predict(request);
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "malformed_reply");
  CHECK(harness::eventually([&] { return engine.counters().garbage_lines == 20; }));
  CHECK(engine.counters().answered == 20);
}

TEST_CASE("a service that stands still: time-outs, a bound on what is in flight, and all is well afterwards") {
  Options options = harness::options();
  options.max_in_flight = 16;
  InferenceEngine engine(options);
  const std::vector<float> values = harness::window(12);
  ForecastRequest request = harness::forecast(values);
  const Reply expected = engine.predict(request);
  REQUIRE(expected.ok());
  const int pid = engine.service().pid;

  ::kill(pid, SIGSTOP);
  request.timeout = milliseconds(200);
  harness::Replies replies;
  for (int i = 0; i < 40; ++i) engine.predict(request, replies.collector());
  std::vector<Reply> all = replies.wait(40);
  REQUIRE(all.size() == 40);
  CHECK(harness::count(all, Outcome::timed_out) == 16);
  CHECK(harness::count(all, Outcome::overloaded) == 24);
  for (const Reply& reply : all) {
    if (reply.outcome == Outcome::timed_out) CHECK(reply.round_trip >= milliseconds(200));
  }
  // The service still owes sixteen answers: it gets nothing more to do.
  CHECK(engine.predict(request).outcome == Outcome::overloaded);

  ::kill(pid, SIGCONT);
  CHECK(harness::eventually([&] { return engine.counters().late_replies == 16; }));
  request.timeout.reset();
  for (int i = 0; i < 20; ++i) {
    const Reply reply = engine.predict(request);
    REQUIRE_MESSAGE(reply.ok(), reply.error.message);
    CHECK(reply.predictions == expected.predictions);
  }
  CHECK(replies.wait(40).size() == 40);
  CHECK(engine.service().pid == pid);
}

TEST_CASE("writing never waits for a service that does not read") {
  Options options = harness::options();
  options.max_in_flight = 100;
  options.encoding = Encoding::json;  // 100 windows are three times what the largest pipe holds
  InferenceEngine engine(options);
  const std::vector<float> values = harness::window(13);
  ForecastRequest request = harness::forecast(values);
  const Reply expected = engine.predict(request);
  REQUIRE(expected.ok());
  const int pid = engine.service().pid;

  ::kill(pid, SIGSTOP);
  request.timeout = milliseconds(300);
  harness::Replies replies;
  for (int i = 0; i < 100; ++i) engine.predict(request, replies.collector());
  CHECK(harness::count(replies.wait(100), Outcome::timed_out) == 100);
  // What the pipe had no room for was taken back, and its places are free.
  std::future<Reply> next = engine.predict_async(request);
  CHECK(next.get().outcome == Outcome::timed_out);
  request.timeout = seconds(60);
  next = engine.predict_async(request);
  ::kill(pid, SIGCONT);
  const Reply reply = next.get();
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.predictions == expected.predictions);
  const Counters counters = engine.counters();
  CHECK(counters.late_replies > 0);
  CHECK(counters.late_replies < 100);
  CHECK(counters.garbage_lines == 0);
  CHECK(engine.service().pid == pid);
}

TEST_CASE("a service that hangs is killed and restarted") {
  Options options = harness::options();
  options.hang_timeout = milliseconds(300);
  InferenceEngine engine(options);
  const int pid = engine.service().pid;
  const std::vector<float> values = harness::window(14);
  ForecastRequest request = harness::forecast(values);
  ::kill(pid, SIGSTOP);
  request.timeout = milliseconds(100);
  CHECK(engine.predict(request).outcome == Outcome::timed_out);
  request.timeout.reset();
  CHECK(harness::eventually([&] { return engine.service().generation == 2; }));
  CHECK(engine.predict(request).ok());
  CHECK_FALSE(harness::exists(pid));
}

TEST_CASE("a killed wrapper takes the service that it started with it") {
  const harness::Folder folder;
  Options options = harness::options();
  // A background job of a shell reads from nowhere unless it is told otherwise.
  options.program = folder.script("exec 3<&0; \"$PROGRAM\" \"$@\" <&3 & echo $! > '" + folder.path("pid") + "'; wait");
  InferenceEngine engine(options);
  const std::vector<float> values = harness::window(15);
  REQUIRE(engine.predict(harness::forecast(values)).ok());
  int inner = 0;
  if (std::FILE* file = std::fopen(folder.path("pid").c_str(), "r")) {
    REQUIRE(std::fscanf(file, "%d", &inner) == 1);
    std::fclose(file);
  }
  REQUIRE(harness::exists(inner));
  ::kill(engine.service().pid, SIGKILL);
  CHECK(engine.predict(harness::forecast(values)).outcome != Outcome::timed_out);
  CHECK(harness::eventually([&] { return engine.service().generation == 2; }));
  CHECK(harness::eventually([&] { return !harness::exists(inner); }));
  CHECK(engine.predict(harness::forecast(values)).ok());
}

TEST_CASE("no descriptor is left behind, and none is inherited by other programs") {
  const std::vector<int> before = harness::descriptors();
  {
    InferenceEngine engine(harness::options());
    const std::vector<int> open = harness::descriptors();
    CHECK(open.size() > before.size());
    for (const int fd : open) {
      if (std::find(before.begin(), before.end(), fd) == before.end()) CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
  }
  CHECK(harness::descriptors() == before);
}

TEST_CASE("a sibling that another program was started as does not hold the service") {
  InferenceEngine engine(harness::options());
  const int pid = engine.service().pid;
  const pid_t sibling = ::fork();
  if (sibling == 0) {
    ::execlp("sleep", "sleep", "60", nullptr);
    ::_exit(127);
  }
  REQUIRE(sibling > 0);
  const auto start = Clock::now();
  engine.close();
  // Well before SIGTERM: the end of its input has ended it.
  CHECK(Clock::now() - start < seconds(15));
  CHECK_FALSE(harness::exists(pid));
  ::kill(sibling, SIGKILL);
  ::waitpid(sibling, nullptr, 0);
}

TEST_CASE("a forked sibling that inherits the pipes cannot keep the service alive") {
  Options options = harness::options();
  options.drain_timeout = milliseconds(300);
  InferenceEngine engine(options);
  const int pid = engine.service().pid;
  const pid_t sibling = ::fork();
  if (sibling == 0) {
    ::alarm(60);
    for (;;) ::pause();
  }
  REQUIRE(sibling > 0);
  const std::vector<float> values = harness::window(16);
  CHECK(engine.predict(harness::forecast(values)).ok());
  const auto start = Clock::now();
  engine.close();
  CHECK(Clock::now() - start < seconds(15));
  CHECK_FALSE(harness::exists(pid));
  ::kill(sibling, SIGKILL);
  ::waitpid(sibling, nullptr, 0);
}

TEST_CASE("what this program has open is not the service's") {
  // A socket, as a library opens it that knows nothing of O_CLOEXEC; and a descriptor with a high number.
  int sockets[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  const int high = ::fcntl(sockets[0], F_DUPFD, 200);
  REQUIRE(high >= 200);
  {
    InferenceEngine engine(harness::options());
    CHECK_FALSE(harness::holds(engine.service().pid, sockets[0]));
    CHECK_FALSE(harness::holds(engine.service().pid, sockets[1]));
    // So its other end hears of the end of this program's.
    ::close(sockets[0]);
    ::close(high);
    char byte = 0;
    CHECK(::read(sockets[1], &byte, 1) == 0);
  }
  ::close(sockets[1]);
}

TEST_CASE("a blocked or ignored signal of this program is not the service's") {
  const harness::Folder folder;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const auto pipe = ::signal(SIGPIPE, SIG_IGN);
  const auto hangup = ::signal(SIGHUP, SIG_IGN);
  Options options = harness::options();
  options.program =
      folder.script("grep Sig /proc/self/status > '" + folder.path("status") + "'; exec \"$PROGRAM\" \"$@\"");
  InferenceEngine engine(options);
  ::signal(SIGPIPE, pipe);
  ::signal(SIGHUP, hangup);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  std::ifstream file(folder.path("status"));
  const std::string status{std::istreambuf_iterator<char>(file), {}};
  // The C library ignores signals of its own, numbers 32 and 33, behind the first 31.
  const auto signals = [&](const std::string& name) {
    return std::stoull(status.substr(status.find(name) + name.size()), nullptr, 16) & 0x7FFF'FFFFU;
  };
  CHECK(signals("SigBlk:") == 0);
  CHECK(signals("SigIgn:") == 0);
  ::kill(engine.service().pid, SIGTERM);
  CHECK(harness::eventually([&] { return engine.service().generation == 2; }));
}

TEST_CASE("an error without an id ends the request that waits alone, and the service lives") {
  Options options = harness::options();
  options.encoding = Encoding::json;
  InferenceEngine engine(options);
  const int pid = engine.service().pid;
  // Longer than a line may be: the service skips it unread.
  const std::vector<float> values(std::size_t{1} << 22U, 1.5F);
  ForecastRequest request;
  request.window = {values.data(), values.size() / harness::channels, harness::channels};
  const Reply reply = engine.predict(request);
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "line_too_long");
  CHECK(engine.predict(harness::forecast(harness::window(18))).ok());
  CHECK(engine.service().pid == pid);
}

TEST_CASE("a service that answers without ids does not hang, and one that answers too few does") {
  const harness::Folder folder;
  Options options = harness::options();
  options.hang_timeout = milliseconds(100);
  options.timeout = milliseconds(100);
  // Nothing is read before both requests are there; then as many errors come as there is an argument for.
  options.program = folder.script("read ping; " + harness::pong + R"(
while read one && read two; do
  shift
  for error; do echo '{"request_id":null,"success":false,"error":{"code":"invalid_json","retryable":false}}'; done
done)");
  ForecastRequest request;
  request.stream = "s";
  for (const bool enough : {true, false}) {
    options.arguments = enough ? std::vector<std::string>{"1", "2"} : std::vector<std::string>{"1"};
    InferenceEngine engine(options);
    harness::Replies replies;
    engine.predict(request, replies.collector());
    engine.predict(request, replies.collector());
    CHECK(replies.wait(2).size() == 2);
    if (enough) {
      // The last of the two was alone when its error came, or both were taken back when they were overdue.
      std::this_thread::sleep_for(milliseconds(500));
      CHECK(engine.counters().restarts == 0);
    } else {
      CHECK(harness::eventually([&] { return engine.service().generation == 2; }));
    }
  }
}

TEST_CASE("fields that are not known yet are passed over") {
  const harness::Folder folder;
  Options options = harness::options();
  options.program = folder.script("read ping; " + harness::pong + R"(
while read line; do
  id=${line#*:}; id=${id%%,*}
  echo "{\"metadata\":{\"predictions\":[[9]]},\"request_id\":$id,\"warnings\":[{\"code\":\"x\"}],\"newest_timestamp_ms\":7,\
\"channels\":[\"a\"],\"success\":true,\"predictions\":[[1.5]],\"quantiles\":{\"0.1\":[[1]]}}"
done)");
  InferenceEngine engine(options);
  ForecastRequest request;
  request.stream = "s";
  const Reply reply = engine.predict(request);
  REQUIRE_MESSAGE(reply.ok(), reply.error.message);
  CHECK(reply.predictions == std::vector<float>{1.5F});
  CHECK(engine.counters().garbage_lines == 0);
}

TEST_SUITE_END();
