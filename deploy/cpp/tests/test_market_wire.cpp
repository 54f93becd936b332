// Raw messages in request lines, and what comes back about them, without a service.
#include <cmath>
#include <random>

#include "harness.h"

using namespace vinocast;
using namespace vinocast::detail;

namespace {

/// The line of a request, without its end.
template <typename Request>
std::string line_of(const Request& request) {
  std::string line = "{\"request_id\":1";
  append_body(line, request, Encoding::base64, std::chrono::milliseconds(1));
  REQUIRE(line.back() == '\n');
  line.pop_back();
  return line;
}

std::string line_of_message(std::string_view message) {
  FeedRequest request;
  request.message = message;
  return line_of(request);
}

/// The message that a service reads in a line, which has to be one whole object with the fields of a feed alone.
simdjson::dom::element message_in(const std::string& line) {
  static simdjson::dom::parser parser;
  CHECK(line.find('\n') == std::string::npos);
  simdjson::dom::object object;
  REQUIRE(parser.parse(line).get(object) == simdjson::SUCCESS);
  CHECK(object.size() == 3);
  CHECK(object["op"].get_string().value() == "feed");
  return object["message"].value();
}

bool read(std::string line, Reply& reply) {
  const std::size_t size = line.size();
  line.resize(size + LineReader::padding);
  static ReplyReader reader;
  simdjson::dom::object object;
  return reader.parse({line.data(), size}, object) && ReplyReader::read(object, reply);
}

}  // namespace

TEST_SUITE_BEGIN("market_wire");

TEST_CASE("a raw message stands in its line as it came, byte for byte") {
  const std::string message =
      R"({"type":"match", "price":"1e-8","note":"\"}],{[\\\n\u0000 é","n":-0.0, "deep":[[{"a":[]}]]})";
  CHECK(line_of_message(message) == R"({"request_id":1,"op":"feed","message":)" + message + "}");
}

TEST_CASE("a message over several lines becomes one line, and means the same") {
  CHECK(line_of_message("{\r\n\t\"a\":\n[1,\n2]}\n") ==
        "{\"request_id\":1,\"op\":\"feed\",\"message\":{\r \t\"a\": [1, 2]} }");
}

TEST_CASE("what is no JSON object goes as a string that says so, and reaches nothing beyond its place") {
  for (const std::string& bad : std::vector<std::string>{"",
                                                         " ",
                                                         "\n",
                                                         "no JSON",
                                                         "{",
                                                         "}",
                                                         "null",
                                                         "7",
                                                         "\"text\"",
                                                         "[{}]",
                                                         "{}{}",
                                                         "{},{}",
                                                         R"({"a":1},"on_bar":true)",
                                                         R"({"a":1}})",
                                                         "{\"a\":\"\n\"}",
                                                         "{\"a\":\"\x01\"}",
                                                         "\xff\xfe",
                                                         "{\"a\":\"\xff\"}",
                                                         R"({"a":"\ud800"})",
                                                         R"({"a":NaN})",
                                                         R"({"a":1e999})",
                                                         std::string(70, '[') + std::string(70, ']'),
                                                         R"({"a":)" + std::string(70, '[') + std::string(70, ']') + "}",
                                                         std::string("{}\0", 3),
                                                         std::string(100'000, 'x')}) {
    CAPTURE(bad);
    const simdjson::dom::element sent = message_in(line_of_message(bad));
    std::string_view said;
    REQUIRE(sent.get(said) == simdjson::SUCCESS);
    CHECK(said.substr(0, 16) == "no JSON object (");
    CHECK(said.size() < 500);
  }
}

TEST_CASE("whatever the bytes, a line stays one request") {
  std::mt19937 generator(3);
  const std::string valid = R"({"channel":"candles","events":[{"type":"update","candles":[{"start":"300"}]}]})";
  const std::string alphabet = "{}[]\",:\\\n\r\x01\x7f\xc3\xa9 eE+-.0129anult";
  for (int i = 0; i < 20'000; ++i) {
    std::string message = valid;
    for (unsigned changes = 1 + generator() % 4; changes > 0; --changes) {
      const std::size_t at = generator() % message.size();
      switch (generator() % 3) {
        case 0: message[at] = alphabet[generator() % alphabet.size()]; break;
        case 1: message.insert(at, 1, alphabet[generator() % alphabet.size()]); break;
        default: message.erase(at, 1 + generator() % 3); break;
      }
      if (message.empty()) message = "x";
    }
    CAPTURE(message);
    const simdjson::dom::element sent = message_in(line_of_message(message));
    CHECK((sent.is_object() || sent.is_string()));
  }
}

TEST_CASE("several messages are an array, in which each is spliced or replaced for itself") {
  FeedRequest request;
  request.messages = {R"({"a":1})", "nothing", "{\n}"};
  request.connected = true;
  request.timestamp_ms = 5;
  BarForecast on_bar;
  on_bar.targets = {"close"};
  on_bar.quantile_levels = {0.1, 0.9};
  on_bar.prediction_length = 3;
  on_bar.interpolate = true;
  on_bar.model = "m";
  request.on_bar = on_bar;
  const std::string line = line_of(request);
  const std::string head =
      R"({"request_id":1,"op":"feed","timestamp_ms":5,"connected":true,"on_bar":true,"model":"m","targets":["close"],)"
      R"("quantile_levels":[0.1,0.9],"prediction_length":3,"missing":"interpolate","messages":[{"a":1},"no JSON object ()";
  CHECK(line.substr(0, head.size()) == head);
  CHECK(line.substr(line.size() - 17) == R"(): nothing",{ }]})");
}

TEST_CASE("candles and the wish for bars are lines, too") {
  HistoryRequest history;
  history.stream = "A-B@5m";
  history.bars = {{300, 10, 11, 9, 10.5, 5, BarState::complete},
                  {600, 0, 0, 0, 0, 0, BarState::missing},
                  {900, 0.1, 1e300, 1e-8, 3, 0, BarState::filled}};
  CHECK(
      line_of(history) ==
      R"({"request_id":1,"op":"history","stream":"A-B@5m","candles":[[300,9,11,10,10.5,5],[900,1e-08,1e+300,0.1,3,0]]})");
  history.bars.clear();
  CHECK(line_of(history) == R"({"request_id":1,"op":"history","stream":"A-B@5m","candles":[]})");
  BarsRequest bars;
  bars.stream = "A-B@5m";
  CHECK(line_of(bars) == R"({"request_id":1,"op":"bars","stream":"A-B@5m"})");
  bars.last = 7;
  CHECK(line_of(bars) == R"({"request_id":1,"op":"bars","stream":"A-B@5m","last":7})");
}

TEST_CASE("a reply says what has closed, and what became of the messages") {
  Reply reply;
  REQUIRE(read(R"({"request_id":1,"success":true,"closed":[{"stream":"A-B@5m","bar":[300,10,11,9,10.5,5,"complete"]},)"
               R"({"stream":"C@1h","bar":[3600,null,null,null,null,null,"missing"]}],"counts":{"seen":3,"used":2,)"
               R"("re_sent_closed_bucket":1},"warnings":["one",{"code":"x"}]})",
               reply));
  REQUIRE(reply.closed.size() == 2);
  CHECK(reply.closed[0].stream == "A-B@5m");
  const Bar& bar = reply.closed[0].bar;
  CHECK(bar.start_s == 300);
  CHECK(std::vector<double>{bar.open, bar.high, bar.low, bar.close, bar.volume} ==
        std::vector<double>{10, 11, 9, 10.5, 5});
  CHECK(bar.state == BarState::complete);
  CHECK(reply.closed[1].bar.state == BarState::missing);
  CHECK_FALSE(is_finite(reply.closed[1].bar.close));
  CHECK(reply.counts.seen == 3);
  CHECK(reply.counts.re_sent_closed_bucket == 1);
  CHECK(reply.counts.refused == 0);
  FeedCounts sum = reply.counts;
  sum += reply.counts;
  CHECK(sum.used == 4);
  CHECK(reply.warnings == std::vector<std::string>{"one"});

  Reply bars;
  REQUIRE(read(R"({"request_id":1,"success":true,"stream":"A@1m","bars":[[60,1,2,0.5,1.5,3,"filled"],)"
               R"([120,1,2,0.5,1.5,3,"incomplete"],[180,1,2,0.5,1.5,3,"open"]],"counts":{}})",
               bars));
  CHECK(bars.stream == "A@1m");
  REQUIRE(bars.bars.size() == 3);
  CHECK(bars.bars[2].state == BarState::open);
  CHECK(std::string(to_string(bars.bars[1].state)) == "incomplete");
}

TEST_CASE("a forecast comes with its channels, its band and its time") {
  Reply reply;
  REQUIRE(read(R"({"request_id":1,"success":true,"predictions":[[1.5,2],[3,4]],"channels":["close","volume"],)"
               R"("quantiles":{"0.1":[[1,1],[1,1]],"0.9":[[9,9],[9,9.5]]},"newest_timestamp_ms":300000})",
               reply));
  CHECK(reply.channels == std::vector<std::string>{"close", "volume"});
  REQUIRE(reply.quantiles.size() == 2);
  CHECK(reply.quantiles[0].level == 0.1);
  CHECK(reply.quantiles[1].values == std::vector<float>{9, 9, 9, 9.5});
  CHECK(reply.newest_timestamp_ms == 300000);
  Reply none;
  REQUIRE(read(R"({"request_id":1,"success":true,"newest_timestamp_ms":null})", none));
  CHECK_FALSE(none.newest_timestamp_ms.has_value());
}

TEST_CASE("what is no reply of a market stream is recognized") {
  for (const char* fields :
       {R"("closed":{})", R"("closed":[{"stream":"A"}])", R"("closed":[{"stream":"A","bar":[1,2,3,4,5,6]}])",
        R"("bars":[[300,1,1,1,1,1,"splendid"]])", R"("bars":[[300,"1",1,1,1,1,"open"]])",
        R"("bars":[[300.5,1,1,1,1,1,"open"]])", R"("counts":{"seen":-1})", R"("counts":[])",
        R"("quantiles":{"a":[[1]]})", R"("quantiles":{"0.5":[1]})", R"("channels":[1])",
        R"("newest_timestamp_ms":"now")", R"("stream":7)"}) {
    CAPTURE(fields);
    Reply reply;
    CHECK_FALSE(read(std::string(R"({"request_id":1,"success":true,)") + fields + "}", reply));
  }
}

TEST_SUITE_END();
