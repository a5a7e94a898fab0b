#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/socket_addr.h"

// The text forms of settings. Every error says what was given and what was expected.
namespace culvert {

// The longest duration of a setting: far beyond any useful one, and small enough that a deadline computed
// from it fits the clock's 64 bits of nanoseconds.
inline constexpr std::chrono::days kMaxDuration{365};

// A whole number with a unit: "250ms", "10s", "5m", "48h", "30d". kInvalid: not of that form; kLimit: longer
// than `most`.
Result<Duration> parse_duration(std::string_view text, std::chrono::days most = kMaxDuration);
// The shortest text that parse_duration reads as this, which is a whole number of milliseconds: "90s", "1h".
std::string format_duration(Duration duration);

// A whole number of bytes, with a unit or without: "65536", "64KiB", "250M" (k, M and G are powers of 1000,
// KiB, MiB and GiB of 1024). kInvalid: not of that form, or 2^63 and more.
Result<uint64_t> parse_byte_count(std::string_view text);

// A number from `least` to `most`, inclusive.
Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most);

// "yes" or "no"; also "true" and "false", "1" and "0".
Result<bool> parse_yes_or_no(std::string_view text);

// An address to listen on: "0.0.0.0:443" or "[::]:443".
Result<SocketAddr> parse_listen_addr(std::string_view text);

}  // namespace culvert
