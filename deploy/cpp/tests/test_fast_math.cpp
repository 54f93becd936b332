// The client in a program that is built with -Ofast.
#include <cstring>

#include <sys/socket.h>

#include "harness.h"

#ifndef __FAST_MATH__
#error "these tests say nothing without -Ofast or -ffast-math"
#endif

using namespace vinocast;
using namespace vinocast::detail;

namespace {

float float_of(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("each kind of number is told by its bits") {
  // Not one by one: a compiler with -Ofast takes -0 for 0.
  const std::vector<std::uint32_t> bits{0x7FC00000U, 0xFFC00001U, 0x7F800000U, 0xFF800000U, 0U,          0x80000000U,
                                        1U,          0x80000001U, 0x007FFFFFU, 0x00800000U, 0x7F7FFFFFU, 0xC0200000U};
  std::vector<float> values(bits.size());
  std::memcpy(values.data(), bits.data(), bits.size() * sizeof(float));
  std::string text;
  append_rows_json(text, {values.data(), 3, 4});
  CHECK(text ==
        "[[null,null,null,null],[0,-0.0,1.40129846e-45,-1.40129846e-45],"
        "[1.17549421e-38,1.1754944e-38,3.4028235e+38,-2.5]]");
  float number = 0;
  for (const char* none : {"nan", "inf", "-inf", "infinity", "1e39", ""}) CHECK_FALSE(read_number(none, number));
}

TEST_CASE("the smallest numbers come back bit for bit") {
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x00900000U; bits += 4099) {
    values.push_back(float_of(bits));
    values.push_back(float_of(bits | sign_bit));
  }
  std::string line = R"({"request_id":5,"success":true,"predictions":)";
  append_rows_json(line, {values.data(), values.size() / 2, 2});
  line += "}";
  const std::size_t size = line.size();
  line.resize(size + LineReader::padding);
  ReplyReader reader;
  simdjson::dom::object object;
  Reply reply;
  REQUIRE(reader.parse({line.data(), size}, object));
  REQUIRE(ReplyReader::read(object, reply));
  REQUIRE(reply.predictions.size() == values.size());
  CHECK(std::memcmp(reply.predictions.data(), values.data(), values.size() * sizeof(float)) == 0);
}

TEST_CASE("a row or a window with NaN is refused, with its place, and the streams live on") {
  Options options = harness::options();
  options.encoding = Encoding::json;
  InferenceEngine engine(options);
  const int pid = engine.service().pid;
  std::vector<float> values = harness::window(31);
  ObserveRequest rows;
  rows.stream = "s";
  rows.rows = {values.data(), harness::context, harness::channels};
  REQUIRE(engine.observe(rows).missing == 0);
  for (const std::uint32_t bits : {0x7FC00000U, 0xFF800000U}) {
    values[2] = float_of(bits);
    rows.rows.rows = 1;
    Reply reply = engine.observe(rows);
    CHECK(reply.outcome == Outcome::service_error);
    CHECK(reply.error.code == "invalid_value");
    reply = engine.predict(harness::forecast(values));
    CHECK(reply.error.code == "invalid_value");
    CHECK(reply.error.field == "past_values[0][2]");
  }
  ForecastRequest request;
  request.stream = "s";
  CHECK(engine.predict(request).ok());
  CHECK(engine.service().pid == pid);
}

// This program is built for a C library that cannot close all from a number on.
TEST_CASE("what this program has open is not the service's") {
  int sockets[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  const int high = ::fcntl(sockets[0], F_DUPFD, 200);
  {
    InferenceEngine engine(harness::options());
    CHECK_FALSE(harness::holds(engine.service().pid, sockets[0]));
    CHECK_FALSE(harness::holds(engine.service().pid, sockets[1]));
  }
  for (const int fd : {sockets[0], sockets[1], high}) ::close(fd);
}
