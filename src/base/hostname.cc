#include "base/hostname.h"

#include <algorithm>

#include "base/ascii.h"

namespace culvert {
namespace {

constexpr size_t kMaxLabel = 63;  // RFC 1035, 2.3.4

bool is_label_character(char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_'; }

}  // namespace

const char* hostname_label_fault(std::string_view label) {
  if (label.empty()) return "is empty";
  if (label.size() > kMaxLabel) return "is longer than 63 bytes";
  if (label.contains('*')) return "has a '*'; a wildcard is '*' alone as the first label";
  if (std::ranges::any_of(label, [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    return "is not ASCII; write it in its xn-- form";
  }
  if (!std::ranges::all_of(label, is_label_character)) {
    return "has a character other than letters, digits, hyphens and underscores";
  }
  return nullptr;
}

std::string hostname_fault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxHostname) return "is longer than 253 bytes";
  for (bool more = true; more;) {
    const size_t dot = name.find('.');
    more = dot != name.npos;
    if (const char* fault = hostname_label_fault(name.substr(0, dot))) {
      return std::string("has a label that ") + fault;
    }
    if (more) name.remove_prefix(dot + 1);
  }
  return {};
}

bool is_hostname(std::string_view name) { return hostname_fault(name).empty(); }

bool is_hostname_or_wildcard(std::string_view name) {
  if (name.size() > kMaxHostname) return false;
  return is_hostname(name.starts_with("*.") ? name.substr(2) : name);
}

}  // namespace culvert
