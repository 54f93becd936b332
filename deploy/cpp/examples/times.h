// Times as they stand in CSV files and in messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "vinocast/floats.h"

namespace market {

/// Takes digits off the front of a text.
class Digits {
 public:
  explicit Digits(std::string_view text) : text_(text) {}

  /// Exactly `count` digits; false when there are fewer.
  bool number(std::size_t count, int& value) {
    if (text_.size() < count || text_[0] < '0' || text_[0] > '9') return false;
    const bool good = vinocast::read_number(text_.substr(0, count), value);
    text_.remove_prefix(good ? count : 0);
    return good;
  }
  /// One of these characters; 0 when the next is none of them.
  char one_of(std::string_view characters) {
    if (text_.empty() || characters.find(text_[0]) == std::string_view::npos) return 0;
    const char found = text_[0];
    text_.remove_prefix(1);
    return found;
  }
  bool ended() const { return text_.empty(); }

 private:
  std::string_view text_;
};

/// `:MM`, `:MM:SS` or `:MM:SS.f…`, then nothing, `Z`, `+HH:MM`, `+HHMM` or `+HH`; seconds east of Greenwich are
/// subtracted.
inline bool read_clock(Digits& digits, std::tm& parts, std::int64_t& ms, std::int64_t& east_s) {
  if (!digits.one_of(":") || !digits.number(2, parts.tm_min)) return false;
  if (digits.one_of(":")) {
    if (!digits.number(2, parts.tm_sec)) return false;
    if (digits.one_of(".,")) {
      int digit = 0;
      int count = 0;
      for (int scale = 100; count < 9 && digits.number(1, digit); ++count, scale /= 10) ms += digit * scale;
      if (count == 0) return false;
    }
  }
  if (const char sign = digits.one_of("+-")) {
    int hours = 0;
    int minutes = 0;
    if (!digits.number(2, hours)) return false;
    digits.one_of(":");
    if (!digits.ended() && !digits.number(2, minutes)) return false;
    if (hours > 23 || minutes > 59) return false;
    east_s = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
  } else {
    digits.one_of("Zz");
  }
  return true;
}

/// Reads a time as milliseconds since 1970; false when it is none. UTC, unless it says otherwise:
///   * `2026-11-25T03:57:27Z`, as ISO 8601 and RFC 3339 have it: a space for the T, no seconds, up to nine digits of a
///     fraction (what is finer than a millisecond is cut), an offset; the date alone
///   * `2019-10-17 09-AM`, as CryptoDataDownload writes it
///   * seconds since 1970, or milliseconds from a hundred thousand million on (1973)
inline bool read_time(std::string_view text, std::int64_t& milliseconds) {
  constexpr std::int64_t first_ms = 100'000'000'000;
  constexpr std::int64_t last_ms = 253'402'300'800'000;  // the year 10000
  std::int64_t number = 0;
  if (vinocast::read_number(text, number)) {
    milliseconds = number < first_ms && number > -first_ms ? number * 1000 : number;
    return number > -last_ms && number < last_ms;
  }
  std::tm parts{};
  std::int64_t ms = 0;
  std::int64_t east_s = 0;
  Digits digits(text);
  if (!digits.number(4, parts.tm_year) || !digits.one_of("-") || !digits.number(2, parts.tm_mon) ||
      !digits.one_of("-") || !digits.number(2, parts.tm_mday)) {
    return false;
  }
  if (digits.one_of("Tt ")) {
    if (!digits.number(2, parts.tm_hour)) return false;
    if (digits.one_of("-")) {
      const char half = digits.one_of("AP");
      if (half == 0 || !digits.one_of("M") || parts.tm_hour < 1 || parts.tm_hour > 12) return false;
      parts.tm_hour = parts.tm_hour % 12 + (half == 'P' ? 12 : 0);
    } else if (!read_clock(digits, parts, ms, east_s)) {
      return false;
    }
  }
  if (!digits.ended() || parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60) return false;
  std::tm day{};
  day.tm_year = parts.tm_year - 1900;
  day.tm_mon = parts.tm_mon - 1;
  day.tm_mday = parts.tm_mday;
  std::int64_t seconds = ::timegm(&day);
  // The 31st of a shorter month has become a day of another month.
  if (day.tm_mon != parts.tm_mon - 1 || day.tm_mday != parts.tm_mday) return false;
  seconds += parts.tm_hour * 3600 + parts.tm_min * 60 + parts.tm_sec - east_s;
  milliseconds = seconds * 1000 + ms;
  return true;
}

/// A time in seconds since 1970 as `2026-11-25T03:57:27Z`.
inline std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[32];
  ::gmtime_r(&time, &parts);
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace market
