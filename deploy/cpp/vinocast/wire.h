// Requests to JSON lines: docs/protocol.md in C++. The other way is in reply_reader.h.
#pragma once

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "floats.h"
#include "line_transport.h"
#include "messages.h"

namespace vinocast::detail {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 windows are little-endian float32");
static_assert(LineReader::padding >= simdjson::SIMDJSON_PADDING);

template <typename Integer>
void append_integer(std::string& out, Integer value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

/// Digits that read back as the same number; null for what is not finite.
inline void append_number(std::string& out, double value) {
  char digits[32];
  if (is_finite(value)) {
    out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  } else {
    out += "null";
  }
}

inline void append_string(std::string& out, std::string_view text) {
  constexpr const char* hex = "0123456789abcdef";
  out += '"';
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') {
      out += '\\';
      out += character;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    } else {
      out += character;
    }
  }
  out += '"';
}

/// [[…], …] with digits that read back as the same float. What is not finite becomes null, which the service refuses
/// with the number's position.
inline void append_rows_json(std::string& out, const Rows& rows) {
  const std::size_t start = out.size();
  out.resize(start + rows.size() * (longest_float + 1) + 3 * rows.rows + 2);
  char* to = out.data() + start;
  *to++ = '[';
  const float* value = rows.values;
  for (std::size_t row = 0; row < rows.rows; ++row) {
    if (row > 0) *to++ = ',';
    *to++ = '[';
    for (std::size_t channel = 0; channel < rows.channels; ++channel, ++value) {
      if (channel > 0) *to++ = ',';
      to = write_float(to, *value);
    }
    *to++ = ']';
  }
  *to++ = ']';
  out.resize(static_cast<std::size_t>(to - out.data()));
}

inline void append_base64(std::string& out, const void* data, std::size_t size) {
  constexpr const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t start = out.size();
  out.resize(start + (size + 2) / 3 * 4);
  char* to = out.data() + start;
  const auto* from = static_cast<const unsigned char*>(data);
  for (; size >= 3; size -= 3, from += 3) {
    const std::uint32_t bits = std::uint32_t{from[0]} << 16U | std::uint32_t{from[1]} << 8U | from[2];
    *to++ = alphabet[bits >> 18U];
    *to++ = alphabet[bits >> 12U & 63U];
    *to++ = alphabet[bits >> 6U & 63U];
    *to++ = alphabet[bits & 63U];
  }
  if (size > 0) {
    const std::uint32_t bits = std::uint32_t{from[0]} << 16U | (size > 1 ? std::uint32_t{from[1]} << 8U : 0U);
    *to++ = alphabet[bits >> 18U];
    *to++ = alphabet[bits >> 12U & 63U];
    *to++ = size > 1 ? alphabet[bits >> 6U & 63U] : '=';
    *to++ = '=';
  }
}

/// Of what opens a request's line.
constexpr std::size_t longest_head = 48;

/// Opens a request's line; one of the append_body functions completes it.
inline std::size_t write_head(char (&to)[longest_head], std::uint64_t id) {
  constexpr std::string_view key = "{\"request_id\":";
  std::memcpy(to, key.data(), key.size());
  return static_cast<std::size_t>(std::to_chars(to + key.size(), to + sizeof to, id).ptr - to);
}

inline void append_model(std::string& out, const std::string& model) {
  if (model.empty()) return;
  out += ",\"model\":";
  append_string(out, model);
}

inline void append_timestamp(std::string& out, const std::optional<std::int64_t>& timestamp_ms) {
  if (!timestamp_ms) return;
  out += ",\"timestamp_ms\":";
  append_integer(out, *timestamp_ms);
}

/// [a,b,…], each element as `append` writes it.
template <typename Elements, typename Append>
void append_array(std::string& out, const Elements& elements, Append&& append) {
  char separator = '[';
  for (const auto& element : elements) {
    out += separator;
    append(element);
    separator = ',';
  }
  if (separator == '[') out += separator;
  out += ']';
}

/// What is wanted of a forecast, of a ForecastRequest or a BarForecast: its model, targets, steps and so on.
template <typename Terms>
void append_terms(std::string& out, const Terms& terms) {
  append_model(out, terms.model);
  if (!terms.targets.empty()) {
    out += ",\"targets\":";
    append_array(out, terms.targets, [&](const std::string& target) { append_string(out, target); });
  }
  if (!terms.quantile_levels.empty()) {
    out += ",\"quantile_levels\":";
    append_array(out, terms.quantile_levels, [&](double level) { append_number(out, level); });
  }
  if (terms.prediction_length > 0) {
    out += ",\"prediction_length\":";
    append_integer(out, terms.prediction_length);
  }
  if (terms.interpolate) out += ",\"missing\":\"interpolate\"";
}

/// Everything of a forecast's line behind its id.
inline void append_body(std::string& out, const ForecastRequest& request, Encoding encoding,
                        std::chrono::milliseconds timeout) {
  append_timestamp(out, request.timestamp_ms);
  out += ",\"deadline_ms\":";
  append_integer(out, timeout.count());
  append_terms(out, request);
  if (!request.stream.empty()) {
    out += ",\"stream\":";
    append_string(out, request.stream);
  }
  if (request.window.values != nullptr) {
    if (encoding == Encoding::base64) {
      out += ",\"shape\":[";
      append_integer(out, request.window.rows);
      out += ',';
      append_integer(out, request.window.channels);
      out += "],\"past_values_b64\":\"";
      append_base64(out, request.window.values, request.window.size() * sizeof(float));
      out += '"';
    } else {
      out += ",\"past_values\":";
      append_rows_json(out, request.window);
    }
  }
  out += "}\n";
}

/// Everything of an observation's line behind its id. Rows have one form on the wire.
inline void append_body(std::string& out, const ObserveRequest& request, Encoding, std::chrono::milliseconds) {
  out += ",\"op\":\"observe\"";
  append_model(out, request.model);
  append_timestamp(out, request.timestamp_ms);
  out += ",\"stream\":";
  append_string(out, request.stream);
  out += ",\"values\":";
  append_rows_json(out, request.rows);
  out += "}\n";
}

inline bool is_utf8(const std::string& text) { return simdjson::validate_utf8(text.data(), text.size()); }

/// The first field whose name is not UTF-8, null when there is none. JSON has no place for such a name: the service
/// could not read the line, nor say whose it was.
inline const char* not_utf8(const ObserveRequest& request) {
  return !is_utf8(request.stream) ? "stream" : !is_utf8(request.model) ? "model" : nullptr;
}

template <typename Terms>
const char* terms_not_utf8(const Terms& terms) {
  if (!is_utf8(terms.model)) return "model";
  for (const std::string& target : terms.targets) {
    if (!is_utf8(target)) return "targets";
  }
  return nullptr;
}

inline const char* not_utf8(const ForecastRequest& request) {
  return !is_utf8(request.stream) ? "stream" : terms_not_utf8(request);
}

}  // namespace vinocast::detail
