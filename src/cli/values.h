#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/result.h"

// The text forms of settings. Every error says what was given and what would be right.
namespace culvert::cli {

// How long an invite lives: a duration of at least a second; "never" and "0" are nullopt.
Result<std::optional<std::chrono::seconds>> parse_expiry(std::string_view text);

// The origin of `culvert http`: "3000", "host:3000" or "http://host:3000".
Result<HostPort> parse_http_origin(std::string_view text);

// "2026-01-31 12:00 UTC"
std::string format_time(UnixTime time);
// "999 B", "1.2 kB", "3.4 GB": powers of 1000
std::string format_bytes(uint64_t bytes);
// "850 us", "12.3 ms", "1.5 s"
std::string format_latency(std::chrono::microseconds latency);
// "62 d", "5 h", "3 min", "9 s", also below zero
std::string format_span(std::chrono::seconds span);
// "12:00:59", local
std::string format_clock(UnixTime time);

}  // namespace culvert::cli
