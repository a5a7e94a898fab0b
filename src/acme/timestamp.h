#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace culvert::acme {

// A date and time of RFC 3339, 5.6: "2026-01-02T03:04:05.6Z", "2026-01-02T03:04:05+01:00". Fractions of a
// second are dropped. nullopt: another form, no such time, or one outside of 1970 to 2255, which a clock in
// nanoseconds holds.
std::optional<UnixTime> parse_timestamp(std::string_view text);
// "2026-01-02T03:04:05Z"
std::string to_timestamp(UnixTime time);

}  // namespace culvert::acme
