// Floats told apart by their bits, not by comparisons: with -Ofast a compiler takes for granted that there is no NaN
// and no infinity, and the processor takes the smallest numbers (below 1.2e-38) for zero.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>

namespace vinocast::detail {

constexpr std::uint32_t sign_bit = 0x8000'0000U;
constexpr std::uint32_t exponent_bits = 0x7F80'0000U;

inline std::uint32_t bits_of(float value) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline bool is_finite(float value) noexcept { return (bits_of(value) & exponent_bits) != exponent_bits; }

inline bool is_finite(double value) noexcept {
  constexpr std::uint64_t exponent = 0x7FF0'0000'0000'0000U;
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & exponent) != exponent;
}

/// The longest text that write_float writes.
constexpr std::size_t longest_float = 15;  // "-1.17549435e-38"

/// Writes digits that read back as the same float, the shortest ones unless it is smaller than 1.2e-38; null for what
/// is not finite. Returns the end of the text.
inline char* write_float(char* to, float value) noexcept {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t fraction = bits & ~(sign_bit | exponent_bits);
  if ((bits & exponent_bits) == exponent_bits) {
    std::memcpy(to, "null", 4);
    return to + 4;
  }
  if ((bits & exponent_bits) != 0) return std::to_chars(to, to + longest_float, value).ptr;
  if ((bits & sign_bit) != 0) *to++ = '-';
  if (fraction == 0) {
    // "-0" is an integer to most readers, and loses its sign.
    const std::size_t size = (bits & sign_bit) != 0 ? 3 : 1;
    std::memcpy(to, "0.0", size);
    return to + size;
  }
  // As a double it is an ordinary number.
  return std::to_chars(to, to + longest_float - 1, fraction * 0x1p-149, std::chars_format::scientific, 8).ptr;
}

/// The float that is nearest to a finite number, also where the processor would make zero of it.
inline float to_float(double value) noexcept {
  if (std::fabs(value) >= 0x1p-126 || value == 0) return static_cast<float>(value);
  const auto fraction = static_cast<std::uint32_t>(std::lrint(std::fabs(value) * 0x1p149));
  const std::uint32_t bits = (value < 0 ? sign_bit : 0U) | fraction;
  float small = 0;
  std::memcpy(&small, &bits, sizeof small);
  return small;
}

}  // namespace vinocast::detail

namespace vinocast {

/// Reads the whole text as a finite number; false when it is none.
template <typename Number>
bool read_number(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && detail::is_finite(static_cast<double>(number));
}

}  // namespace vinocast
