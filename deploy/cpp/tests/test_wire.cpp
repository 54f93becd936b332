// Encoding, decoding and the line transport, without a service.
#include <cstring>
#include <limits>
#include <random>

#include "harness.h"

using namespace vinocast;
using namespace vinocast::detail;

namespace {

/// Parses a line as a reply; false when it is none.
bool read(std::string line, Reply& reply, std::uint64_t& id) {
  const std::size_t size = line.size();
  line.resize(size + LineReader::padding);
  static ReplyReader reader;
  simdjson::dom::object object;
  return reader.parse({line.data(), size}, object) && ReplyReader::read_id(object, id) &&
         ReplyReader::read(object, reply);
}

std::string base64(const std::string& text) {
  std::string out;
  append_base64(out, text.data(), text.size());
  return out;
}

}  // namespace

TEST_SUITE_BEGIN("wire");

TEST_CASE("floats of every kind come back bit for bit from the digits that are sent") {
  std::mt19937 generator(1);
  std::vector<float> values{0.0F,
                            -0.0F,
                            1.0F,
                            std::numeric_limits<float>::max(),
                            std::numeric_limits<float>::lowest(),
                            std::numeric_limits<float>::min(),
                            std::numeric_limits<float>::denorm_min(),
                            1e10F,
                            123456.0F};
  while (values.size() < 20000) {
    const auto bits = static_cast<std::uint32_t>(generator());
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (std::isfinite(value)) values.push_back(value);
  }
  // Sent as rows, received as predictions: the same digits either way.
  std::string line = R"({"request_id":5,"success":true,"predictions":)";
  append_rows_json(line, {values.data(), values.size() / 4, 4});
  line += "}";
  Reply reply;
  std::uint64_t id = 0;
  REQUIRE(read(line, reply, id));
  CHECK(id == 5);
  CHECK(reply.horizon == values.size() / 4);
  CHECK(reply.targets == 4);
  REQUIRE(reply.predictions.size() == values.size());
  CHECK(std::memcmp(reply.predictions.data(), values.data(), values.size() * sizeof(float)) == 0);
}

TEST_CASE("what is not finite is sent as null") {
  const float values[] = {1.5F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -2.0F};
  std::string text;
  append_rows_json(text, {values, 2, 2});
  CHECK(text == "[[1.5,null],[null,-2]]");
}

TEST_CASE("base64 as RFC 4648 has it") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("names are escaped") {
  std::string text;
  append_string(text, "a\"b\\c\n\x01é");
  CHECK(text == "\"a\\\"b\\\\c\\u000a\\u0001é\"");
}

TEST_CASE("a request's line holds its fields") {
  char head[48];
  const float value = 0.1F;
  ObserveRequest row;
  row.stream = "s";
  row.rows = {&value, 1, 1};
  row.timestamp_ms = -7;
  std::string text(head, write_head(head, std::numeric_limits<std::uint64_t>::max()));
  append_body(text, row, Encoding::base64, std::chrono::milliseconds(1));
  CHECK(text ==
        "{\"request_id\":18446744073709551615,\"op\":\"observe\",\"timestamp_ms\":-7,\"stream\":\"s\","
        "\"values\":[[0.1]]}\n");
  ForecastRequest request;
  request.window = row.rows;
  request.targets = {"a", "b"};
  request.model = "m";
  text.clear();
  append_body(text, request, Encoding::base64, std::chrono::milliseconds(20));
  CHECK(text ==
        ",\"deadline_ms\":20,\"model\":\"m\",\"targets\":[\"a\",\"b\"],\"shape\":[1,1],"
        "\"past_values_b64\":\"zczMPQ==\"}\n");
}

TEST_CASE("a service's error comes with all its fields") {
  Reply reply;
  std::uint64_t id = 0;
  REQUIRE(read(R"({"request_id":2,"timestamp_ms":null,"success":false,"error":{"code":"overloaded","message":"full",)"
               R"("field":null,"retryable":true}})",
               reply, id));
  CHECK(reply.outcome == Outcome::service_error);
  CHECK(reply.error.code == "overloaded");
  CHECK(reply.error.message == "full");
  CHECK(reply.error.field.empty());
  CHECK(reply.error.retryable);
}

TEST_CASE("the service's deadline is this side's time-out") {
  Reply reply;
  std::uint64_t id = 0;
  const char* line = R"({"request_id":2,"success":false,"error":{"code":"deadline_exceeded","retryable":false}})";
  REQUIRE(read(line, reply, id));
  CHECK(reply.outcome == Outcome::timed_out);
}

TEST_CASE("what is no reply is recognized") {
  for (const char* line :
       {"", "x", "{", "[]", "null", "{}", R"({"request_id":null,"success":true})",
        R"({"request_id":"1","success":true})", R"({"request_id":-1,"success":true})", R"({"request_id":1})",
        R"({"request_id":1,"success":"yes"})", R"({"request_id":1,"success":true,"predictions":[[1,2],[3]]})",
        R"({"request_id":1,"success":true,"predictions":[[null]]})",
        R"({"request_id":1,"success":true,"predictions":[1]})", R"({"request_id":1,"success":true} {})", "\xff\xfe",
        R"({"request_id":1,"success":false,"error":"no"})"}) {
    CAPTURE(line);
    Reply reply;
    std::uint64_t id = 0;
    CHECK_FALSE(read(line, reply, id));
  }
}

TEST_CASE("lines are cut wherever the pieces end, and a long one is skipped to its end") {
  Pipe pipe = make_pipe();
  set_non_blocking(pipe.read);
  LineReader reader(16);
  const std::string text = "one\r\n\ntwo\n" + std::string(100, 'x') + "\nthree\nfour";
  std::vector<std::string> lines;
  Line line;
  for (const char character : text) {
    REQUIRE(::write(pipe.write.get(), &character, 1) == 1);
    REQUIRE(reader.fill(pipe.read.get()) == LineReader::Read::some);
    while (reader.next(line)) lines.emplace_back(line.data, line.size);
  }
  CHECK(lines == std::vector<std::string>{"one", "", "two", "three"});
  CHECK(reader.overlong() == 1);
  CHECK(reader.fill(pipe.read.get()) == LineReader::Read::nothing);
  pipe.write.reset();
  CHECK(reader.fill(pipe.read.get()) == LineReader::Read::end);
}

TEST_CASE("the outbox keeps order, and lets go of what has not begun") {
  Pipe pipe = make_pipe();
  set_non_blocking(pipe.write);
  ::fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096);
  const std::string large(6000, 'a');
  Outbox outbox;
  std::vector<std::uint64_t> started;
  const auto note = [&](std::uint64_t id) { started.push_back(id); };
  outbox.push(1, large, "\n", 0);
  outbox.push(2, "two", "\n", 0);
  outbox.push(3, "three", "\n", 0);
  outbox.flush(pipe.write.get(), note);
  CHECK(started == std::vector<std::uint64_t>{1});
  outbox.remove(1);  // has begun: stays
  outbox.remove(2);
  std::string received;
  char buffer[4096];
  while (!outbox.empty()) {
    const ssize_t count = ::read(pipe.read.get(), buffer, sizeof buffer);
    REQUIRE(count > 0);
    received.append(buffer, static_cast<std::size_t>(count));
    outbox.flush(pipe.write.get(), note);
  }
  received.append(buffer, static_cast<std::size_t>(::read(pipe.read.get(), buffer, sizeof buffer)));
  CHECK(received == large + "\nthree\n");
  CHECK(started == std::vector<std::uint64_t>{1, 3});
}

TEST_CASE("ids are never used twice, and find only their own request") {
  InFlight table(3);
  Pending* one = table.add();
  Pending* two = table.add();
  REQUIRE(table.add() != nullptr);
  CHECK(table.add() == nullptr);
  const std::uint64_t first = one->id;
  CHECK(table.find(first) == one);
  CHECK(table.find(two->id) == two);
  table.remove(*one);
  CHECK(table.find(first) == nullptr);
  Pending* next = table.add();
  CHECK(next == one);
  CHECK(next->id != first);
  CHECK(table.find(first) == nullptr);
  CHECK(table.find(0) == nullptr);
  CHECK(table.size() == 3);
}

TEST_SUITE_END();
