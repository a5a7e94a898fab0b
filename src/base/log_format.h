#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/log.h"

// How a line of the log is written. For base/log.cc and its tests.
namespace culvert {

// An event's fields as the caller of log_info() gave them: "agent={} edge={}" and the values.
struct LogFields {
  std::string_view pattern;
  fmt::format_args values;
};

// "event=NAME agent=... edge=...", control characters escaped.
std::string text_of_event(std::string_view event, const LogFields& fields);

// The members of a JSON object, without its braces: "msg":"NAME","agent":"...","edge":"...". The names are
// those of the pattern, which a value cannot change. Integers and fractions that are printed in decimal are
// numbers, truth values are true and false, everything else is a string without the quotes and escapes of
// quoted(). Bytes that are not UTF-8 are U+FFFD, and what printable() would escape is \u....
std::string json_of_event(std::string_view event, const LogFields& fields);
// "msg":"TEXT"
std::string json_of_message(std::string_view text);

}  // namespace culvert
