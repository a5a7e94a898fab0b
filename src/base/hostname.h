#pragma once
#include <string>
#include <string_view>

// The one rule for names of hosts, in ClientHellos, routes, certificates, URLs and origins.
namespace culvert {

constexpr size_t kMaxHostname = 253;  // RFC 1035, 2.3.4, as text without a trailing dot

// Labels of 1 to 63 letters, digits, hyphens and underscores, joined by dots. Wider than RFC 1123, 2.1: DNS
// and browsers know names with an underscore or with a hyphen at the end of a label. Upper case is not valid:
// convert with to_lower() first.
bool is_hostname(std::string_view name);
// What is wrong with it, as the predicate of a sentence: "has a label that is empty". Empty when it is valid.
std::string hostname_fault(std::string_view name);
// The same of one label, "is empty"; nullptr when it is valid.
const char* hostname_label_fault(std::string_view label);

// The same, with "*" allowed as the first of several labels.
bool is_hostname_or_wildcard(std::string_view name);

}  // namespace culvert
