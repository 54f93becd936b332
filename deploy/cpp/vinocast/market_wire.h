// Requests of market streams to JSON lines, with raw messages in them as they came.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "line_transport.h"
#include "market.h"
#include "messages.h"
#include "wire.h"

namespace vinocast::detail {

/// What is said of a message that is none, with its beginning.
inline void append_no_message(std::string& out, std::string_view why, std::string_view message) {
  constexpr std::size_t shown = 200;
  std::string text = "no JSON object (" + std::string(why) + "): ";
  for (const char character : message.substr(0, shown)) {
    text += character >= 0x20 && character < 0x7F ? character : '?';
  }
  append_string(out, text);
}

/// Splices a raw message into a line, copied once. It is one JSON object, checked whole, or else it is replaced by a
/// string that says what it is: nothing in it can end the line, reach past its place, or make the line unreadable.
inline void append_message(std::string& out, std::string_view message) {
  // Of what is not so deep, the service's parser reads whatever this one does.
  constexpr std::size_t max_depth = 64;
  constexpr std::size_t first_capacity = 16384;
  thread_local simdjson::dom::parser parser = [] {
    simdjson::dom::parser made;
    [[maybe_unused]] const auto error = made.allocate(first_capacity, max_depth);
    return made;
  }();
  const std::size_t start = out.size();
  out.resize(start + message.size() + LineReader::padding);
  std::copy(message.begin(), message.end(), out.begin() + static_cast<std::ptrdiff_t>(start));
  simdjson::dom::object object;
  const simdjson::error_code error = parser.parse(out.data() + start, message.size(), false).get(object);
  if (error == simdjson::SUCCESS) {
    out.resize(start + message.size());
    // Within strings JSON has none.
    std::replace(out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), '\n', ' ');
  } else {
    out.resize(start);
    append_no_message(out, simdjson::error_message(error), message);
  }
}

inline void append_on_bar(std::string& out, const std::optional<BarForecast>& on_bar) {
  if (!on_bar) return;
  out += ",\"on_bar\":true";
  append_terms(out, *on_bar);
}

/// Everything of a line of messages behind its id.
inline void append_body(std::string& out, const FeedRequest& request, Encoding, std::chrono::milliseconds) {
  out += ",\"op\":\"feed\"";
  append_timestamp(out, request.timestamp_ms);
  if (request.connected) out += ",\"connected\":true";
  append_on_bar(out, request.on_bar);
  if (request.messages.empty()) {
    out += ",\"message\":";
    append_message(out, request.message);
  } else {
    out += ",\"messages\":";
    append_array(out, request.messages, [&](std::string_view message) { append_message(out, message); });
  }
  out += "}\n";
}

/// Everything of a line of candles behind its id: each as [time, low, high, open, close, volume].
inline void append_body(std::string& out, const HistoryRequest& request, Encoding, std::chrono::milliseconds) {
  out += ",\"op\":\"history\"";
  append_timestamp(out, request.timestamp_ms);
  out += ",\"stream\":";
  append_string(out, request.stream);
  append_on_bar(out, request.on_bar);
  out += ",\"candles\":[";
  bool first = true;
  for (const Bar& bar : request.bars) {
    if (bar.state == BarState::missing) continue;
    if (!first) out += ',';
    first = false;
    out += '[';
    append_integer(out, bar.start_s);
    for (const double number : {bar.low, bar.high, bar.open, bar.close, bar.volume}) {
      out += ',';
      append_number(out, number);
    }
    out += ']';
  }
  out += "]}\n";
}

/// Everything of a line that asks for bars behind its id.
inline void append_body(std::string& out, const BarsRequest& request, Encoding, std::chrono::milliseconds) {
  out += ",\"op\":\"bars\"";
  append_timestamp(out, request.timestamp_ms);
  out += ",\"stream\":";
  append_string(out, request.stream);
  if (request.last > 0) {
    out += ",\"last\":";
    append_integer(out, request.last);
  }
  out += "}\n";
}

inline const char* not_utf8(const FeedRequest& request) {
  return request.on_bar ? terms_not_utf8(*request.on_bar) : nullptr;
}

inline const char* not_utf8(const HistoryRequest& request) {
  if (!is_utf8(request.stream)) return "stream";
  return request.on_bar ? terms_not_utf8(*request.on_bar) : nullptr;
}

inline const char* not_utf8(const BarsRequest& request) { return is_utf8(request.stream) ? nullptr : "stream"; }

}  // namespace vinocast::detail
