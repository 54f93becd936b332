// Requests to JSON lines, JSON lines to replies: docs/protocol.md in C++.
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

/// Opens a request's line; one of the append_body functions completes it.
inline std::size_t write_head(char (&to)[48], std::uint64_t id) {
  constexpr std::string_view key = "{\"request_id\":";
  std::memcpy(to, key.data(), key.size());
  return static_cast<std::size_t>(std::to_chars(to + key.size(), to + sizeof to, id).ptr - to);
}

inline void append_common(std::string& out, const std::string& model, const std::optional<std::int64_t>& timestamp_ms) {
  if (!model.empty()) {
    out += ",\"model\":";
    append_string(out, model);
  }
  if (timestamp_ms) {
    out += ",\"timestamp_ms\":";
    append_integer(out, *timestamp_ms);
  }
}

/// Everything of a forecast's line behind its id.
inline void append_body(std::string& out, const ForecastRequest& request, Encoding encoding,
                        std::chrono::milliseconds timeout) {
  append_common(out, request.model, request.timestamp_ms);
  out += ",\"deadline_ms\":";
  append_integer(out, timeout.count());
  if (!request.targets.empty()) {
    out += ",\"targets\":";
    char separator = '[';
    for (const std::string& target : request.targets) {
      out += separator;
      append_string(out, target);
      separator = ',';
    }
    out += ']';
  }
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
  append_common(out, request.model, request.timestamp_ms);
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

inline const char* not_utf8(const ForecastRequest& request) {
  if (!is_utf8(request.stream)) return "stream";
  if (!is_utf8(request.model)) return "model";
  for (const std::string& target : request.targets) {
    if (!is_utf8(target)) return "targets";
  }
  return nullptr;
}

/// Reads replies, of which it passes over the fields that it does not know; keeps its memory between them.
class ReplyReader {
 public:
  /// Parses a line; false when it is no JSON object. The object lives until the next call.
  bool parse(const Line& line, simdjson::dom::object& object) {
    return parser_.parse(line.data, line.size, false).get(object) == simdjson::SUCCESS;
  }

  /// Whether an object names a request of ours.
  static bool read_id(const simdjson::dom::object& object, std::uint64_t& id) {
    return object["request_id"].get(id) == simdjson::SUCCESS;
  }

  /// Fills in the error of a reply to a line of which the service could not read the id; false when it is none.
  static bool read_error_without_id(const simdjson::dom::object& object, Reply& reply) {
    simdjson::dom::element id;
    return object["request_id"].get(id) == simdjson::SUCCESS && id.is_null() && read(object, reply) &&
           reply.outcome == Outcome::service_error;
  }

  /// Fills in a reply; false when the object is none, with what was read so far in it.
  static bool read(const simdjson::dom::object& object, Reply& reply) {
    bool success = false;
    bool known = false;
    for (const auto field : object) {
      bool good = true;
      if (field.key == "predictions") {
        good = read_predictions(field.value, reply);
      } else if (field.key == "inference_time_ms") {
        good = field.value.get(reply.inference_ms) == simdjson::SUCCESS;
      } else if (field.key == "queue_time_ms") {
        good = field.value.get(reply.queue_ms) == simdjson::SUCCESS;
      } else if (field.key == "model") {
        good = read_string(field.value, reply.model);
      } else if (field.key == "rows") {
        good = read_size(field.value, reply.rows);
      } else if (field.key == "missing") {
        good = read_size(field.value, reply.missing);
      } else if (field.key == "error") {
        good = read_error(field.value, reply.error);
      } else if (field.key == "success") {
        known = good = field.value.get(success) == simdjson::SUCCESS;
      }
      if (!good) return false;
    }
    reply.outcome = success ? Outcome::answered : Outcome::service_error;
    // The service's own deadline is the one this side has set.
    if (reply.error.code == "deadline_exceeded") reply.outcome = Outcome::timed_out;
    return known;
  }

  /// Fills in what a ping says; false when the object is no reply to one.
  static bool read(const simdjson::dom::object& object, ServiceInfo& info) {
    if (object["ready"].get(info.ready) != simdjson::SUCCESS) return false;
    read_string(object["version"], info.version);
    read_string(object["default_model"], info.default_model);
    read_string(object["profile"], info.profile);
    simdjson::dom::array models;
    if (object["models"].get(models) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element entry : models) {
      ModelInfo model;
      read_string(entry["name"], model.name);
      read_string(entry["state"], model.state);
      read_string(entry["error"], model.error);
      read_size(entry["context"], model.context);
      read_size(entry["horizon"], model.horizon);
      simdjson::dom::array channels;
      if (entry["channels"].get(channels) == simdjson::SUCCESS) {
        for (const simdjson::dom::element channel : channels) read_string(channel, model.channels.emplace_back());
      }
      info.models.push_back(std::move(model));
    }
    return true;
  }

 private:
  // Each of these takes an element, or the result of looking one up: both have get().

  // The doubles that the parser yields become the floats that the service wrote: it writes the shortest digits that
  // tell a float from its neighbours.
  template <typename Element>
  static bool read_predictions(const Element& element, Reply& reply) {
    simdjson::dom::array rows;
    if (element.get(rows) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element row : rows) {
      simdjson::dom::array values;
      if (row.get(values) != simdjson::SUCCESS) return false;
      if (reply.horizon++ == 0) {
        reply.targets = values.size();
        reply.predictions.reserve(rows.size() * values.size());
      }
      for (const simdjson::dom::element value : values) {
        double number = 0;
        if (value.get(number) != simdjson::SUCCESS) return false;
        reply.predictions.push_back(to_float(number));
      }
      if (reply.predictions.size() != reply.horizon * reply.targets) return false;
    }
    return true;
  }

  template <typename Element>
  static bool read_error(const Element& element, Error& error) {
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) return false;
    read_string(object["message"], error.message);
    read_string(object["field"], error.field);
    return read_string(object["code"], error.code) && object["retryable"].get(error.retryable) == simdjson::SUCCESS;
  }

  template <typename Element>
  static bool read_string(const Element& element, std::string& to) {
    std::string_view text;
    if (element.get(text) != simdjson::SUCCESS) return false;
    to.assign(text);
    return true;
  }

  template <typename Element>
  static bool read_size(const Element& element, std::size_t& to) {
    std::uint64_t number = 0;
    if (element.get(number) != simdjson::SUCCESS) return false;
    to = static_cast<std::size_t>(number);
    return true;
  }

  simdjson::dom::parser parser_;
};

}  // namespace vinocast::detail
