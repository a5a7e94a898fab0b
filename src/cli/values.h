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
// "12:00:59", local
std::string format_clock(UnixTime time);

}  // namespace culvert::cli
