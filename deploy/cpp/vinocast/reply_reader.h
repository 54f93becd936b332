// JSON lines to replies: docs/protocol.md in C++. The other way is in wire.h and market_wire.h.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "floats.h"
#include "line_transport.h"
#include "messages.h"

namespace vinocast::detail {

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

  /// Fills in a forecast, or an error in its place, that nobody has asked for by a request; false when it is none.
  static bool read_pushed(const simdjson::dom::object& object, Reply& reply) {
    std::string_view op;
    return object["request_id"].error() == simdjson::NO_SUCH_FIELD && object["op"].get(op) == simdjson::SUCCESS &&
           op == "forecast" && read(object, reply) && !reply.stream.empty();
  }

  /// Fills in a reply; false when the object is none, with what was read so far in it.
  static bool read(const simdjson::dom::object& object, Reply& reply) {
    bool success = false;
    bool known = false;
    for (const auto field : object) {
      bool good = true;
      if (field.key == "predictions") {
        good = read_rows(field.value, reply.predictions, reply.horizon, reply.targets);
      } else if (field.key == "channels") {
        good = read_strings(field.value, reply.channels);
      } else if (field.key == "quantiles") {
        good = read_quantiles(field.value, reply.quantiles);
      } else if (field.key == "newest_timestamp_ms") {
        good = read_time(field.value, reply.newest_timestamp_ms);
      } else if (field.key == "stream") {
        good = read_string(field.value, reply.stream);
      } else if (field.key == "closed") {
        good = read_closed(field.value, reply.closed);
      } else if (field.key == "bars") {
        good = read_bars(field.value, reply.bars);
      } else if (field.key == "counts") {
        good = read_counts(field.value, reply.counts);
      } else if (field.key == "warnings") {
        read_warnings(field.value, reply.warnings);
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
    read_size(object["max_request_bytes"], info.max_request_bytes);
    simdjson::dom::array models;
    if (object["models"].get(models) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element entry : models) {
      ModelInfo model;
      read_string(entry["name"], model.name);
      read_string(entry["state"], model.state);
      read_string(entry["error"], model.error);
      read_size(entry["context"], model.context);
      read_size(entry["horizon"], model.horizon);
      read_strings(entry["channels"], model.channels);
      info.models.push_back(std::move(model));
    }
    return true;
  }

 private:
  // Each of these takes an element, or the result of looking one up: both have get().

  // The doubles that the parser yields become the floats that the service wrote: it writes the shortest digits that
  // tell a float from its neighbours.
  template <typename Element>
  static bool read_rows(const Element& element, std::vector<float>& numbers, std::size_t& height, std::size_t& width) {
    simdjson::dom::array rows;
    if (element.get(rows) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element row : rows) {
      simdjson::dom::array values;
      if (row.get(values) != simdjson::SUCCESS) return false;
      if (height++ == 0) {
        width = values.size();
        numbers.reserve(rows.size() * values.size());
      }
      for (const simdjson::dom::element value : values) {
        double number = 0;
        if (value.get(number) != simdjson::SUCCESS) return false;
        numbers.push_back(to_float(number));
      }
      if (numbers.size() != height * width) return false;
    }
    return true;
  }

  template <typename Element>
  static bool read_quantiles(const Element& element, std::vector<Quantile>& quantiles) {
    simdjson::dom::object levels;
    if (element.get(levels) != simdjson::SUCCESS) return false;
    for (const auto level : levels) {
      Quantile& quantile = quantiles.emplace_back();
      std::size_t height = 0;
      std::size_t width = 0;
      if (!read_number(level.key, quantile.level) || !read_rows(level.value, quantile.values, height, width)) {
        return false;
      }
    }
    return true;
  }

  /// [start, open, high, low, close, volume, state]
  template <typename Element>
  static bool read_bar(const Element& element, Bar& bar) {
    simdjson::dom::array fields;
    if (element.get(fields) != simdjson::SUCCESS || fields.size() != 7) return false;
    std::size_t place = 0;
    double* numbers[] = {&bar.open, &bar.high, &bar.low, &bar.close, &bar.volume};
    for (const simdjson::dom::element field : fields) {
      if (place == 0) {
        if (field.get(bar.start_s) != simdjson::SUCCESS) return false;
      } else if (place == 6) {
        std::string_view name;
        if (field.get(name) != simdjson::SUCCESS || !read_state(name, bar.state)) return false;
      } else if (field.is_null()) {
        *numbers[place - 1] = std::numeric_limits<double>::quiet_NaN();
      } else if (field.get(*numbers[place - 1]) != simdjson::SUCCESS) {
        return false;
      }
      ++place;
    }
    return true;
  }

  static bool read_state(std::string_view name, BarState& state) {
    for (const BarState known :
         {BarState::open, BarState::complete, BarState::filled, BarState::incomplete, BarState::missing}) {
      if (name != to_string(known)) continue;
      state = known;
      return true;
    }
    return false;
  }

  template <typename Element>
  static bool read_bars(const Element& element, std::vector<Bar>& bars) {
    simdjson::dom::array entries;
    if (element.get(entries) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element entry : entries) {
      if (!read_bar(entry, bars.emplace_back())) return false;
    }
    return true;
  }

  template <typename Element>
  static bool read_closed(const Element& element, std::vector<ClosedBar>& closed) {
    simdjson::dom::array entries;
    if (element.get(entries) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element entry : entries) {
      ClosedBar& bar = closed.emplace_back();
      if (!read_string(entry["stream"], bar.stream) || !read_bar(entry["bar"], bar.bar)) return false;
    }
    return true;
  }

  template <typename Element>
  static bool read_counts(const Element& element, FeedCounts& counts) {
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) return false;
    for (const auto& [name, member] : FeedCounts::all) {
      const auto count = object[name];
      if (count.error() != simdjson::NO_SUCH_FIELD && count.get(counts.*member) != simdjson::SUCCESS) return false;
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
  static bool read_strings(const Element& element, std::vector<std::string>& to) {
    simdjson::dom::array texts;
    if (element.get(texts) != simdjson::SUCCESS) return false;
    for (const simdjson::dom::element text : texts) {
      if (!read_string(text, to.emplace_back())) return false;
    }
    return true;
  }

  /// Takes those that are texts: what is answered is answered, whatever form a later one has.
  template <typename Element>
  static void read_warnings(const Element& element, std::vector<std::string>& to) {
    simdjson::dom::array warnings;
    if (element.get(warnings) != simdjson::SUCCESS) return;
    for (const simdjson::dom::element warning : warnings) {
      std::string_view text;
      if (warning.get(text) == simdjson::SUCCESS) to.emplace_back(text);
    }
  }

  template <typename Element>
  static bool read_time(const Element& element, std::optional<std::int64_t>& to) {
    std::int64_t time = 0;
    if (element.get(time) != simdjson::SUCCESS) return element.is_null();
    to = time;
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
