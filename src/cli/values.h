#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/socket_addr.h"

// The text forms of settings. Every error says what was given and what would be right.
namespace culvert::cli {

// The longest duration of a setting: far beyond any useful one, and small enough that a deadline computed
// from it fits the clock's 64 bits of nanoseconds.
inline constexpr std::chrono::days kMaxDuration{365};

// A whole number with a unit: "250ms", "10s", "5m", "48h", "30d". kLimit: longer than kMaxDuration.
Result<Duration> parse_duration(std::string_view text);

// A number from `least` to `most`, inclusive.
Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most);

// How long an invite lives: a duration of at least a second; "never" and "0" are nullopt.
Result<std::optional<std::chrono::seconds>> parse_expiry(std::string_view text);

// An address to listen on: "0.0.0.0:443" or "[::]:443".
Result<SocketAddr> parse_listen_addr(std::string_view text);

// The origin of `culvert http`: "3000", "host:3000" or "http://host:3000".
struct HttpOrigin {
  std::string host;
  uint16_t port;
};
Result<HttpOrigin> parse_http_origin(std::string_view text);

// A setting's apply function that stores what `parse` reads.
template <class T, class Parse>
std::function<Result<>(std::string_view)> store(T& target, Parse parse) {
  return [&target, parse](std::string_view text) -> Result<> {
    auto value = parse(text);
    if (!value) return std::unexpected(value.error());
    target = static_cast<T>(std::move(*value));
    return {};
  };
}

// "2026-01-31 12:00 UTC"
std::string format_time(UnixTime time);
// "12:00:59", local
std::string format_clock(UnixTime time);

}  // namespace culvert::cli
