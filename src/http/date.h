#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

// HTTP dates: RFC 9110, 5.6.7, in the form that senders must use ("Sun, 06 Nov 1994 08:49:37 GMT").
namespace culvert::http {

std::string format_date(UnixTime time);
// nullopt: another form, or no such day or time.
std::optional<UnixTime> parse_date(std::string_view text);

}  // namespace culvert::http
