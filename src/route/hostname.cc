#include "route/hostname.h"

#include <algorithm>
#include <unordered_set>

#include "base/ascii.h"
#include "base/hostname.h"
#include "base/text.h"

namespace culvert::route {

Result<HostPattern> HostPattern::parse(std::string_view text) {
  if (text.empty()) return fail(ErrorCode::kInvalid, "the hostname is empty");
  if (text.size() > kMaxHostname) {
    return fail(ErrorCode::kInvalid, "hostname {} is longer than {} bytes", quoted(text), kMaxHostname);
  }
  if (text.ends_with('.')) {
    return fail(ErrorCode::kInvalid, "hostname {} ends with a dot; leave it out", quoted(text));
  }
  std::string folded = to_lower(text);
  std::string_view rest = folded;
  std::string_view last;
  size_t labels = 0;
  for (bool more = true; more; ++labels) {
    const size_t dot = rest.find('.');
    more = dot != rest.npos;
    last = rest.substr(0, dot);
    rest = more ? rest.substr(dot + 1) : std::string_view();
    if (labels == 0 && last == "*") continue;
    if (const char* fault = hostname_label_fault(last)) {
      return fail(ErrorCode::kInvalid, "hostname {}: label {} {}", quoted(text), quoted(last), fault);
    }
  }
  if (labels < 2) {
    return fail(ErrorCode::kInvalid, "hostname {} has one label; give the whole name, like app.example.eu",
                quoted(text));
  }
  // No top-level domain is all digits (RFC 3696, 2): this is an IP address, which no ClientHello names.
  if (std::ranges::all_of(last, [](char c) { return is_digit(c); })) {
    return fail(ErrorCode::kInvalid, "hostname {} ends in the number {}; an IP address is no hostname",
                quoted(text), quoted(last));
  }
  return HostPattern(std::move(folded));
}

bool HostPattern::matches(std::string_view host) const {
  if (!is_wildcard()) return host == text_;
  const std::string_view suffix = std::string_view(text_).substr(1);
  if (!host.ends_with(suffix)) return false;
  const std::string_view label = host.substr(0, host.size() - suffix.size());
  return !label.empty() && label.find_first_of(".*") == label.npos;
}

bool HostPattern::grants(const HostPattern& other) const {
  if (!is_wildcard()) return other == *this;
  // The suffix starts with its dot, which is what keeps evilb.c out of *.b.c, and b.c itself as well.
  return other.text_.ends_with(std::string_view(text_).substr(1));
}

bool HostPattern::overlaps(const HostPattern& other) const {
  // Granted sets are single names or whole subtrees: two meet only when one holds the other's own pattern.
  return grants(other) || other.grants(*this);
}

std::string wildcard_above(std::string_view host) {
  const size_t dot = host.find('.');
  if (dot == host.npos || dot == 0) return {};
  return "*" + std::string(host.substr(dot));
}

Result<std::vector<HostPattern>> parse_host_patterns(std::string_view comma_separated) {
  std::vector<HostPattern> patterns;
  std::unordered_set<std::string> seen;
  std::string_view rest = comma_separated;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != rest.npos;
    const std::string_view entry = trim(rest.substr(0, comma));
    rest = more ? rest.substr(comma + 1) : std::string_view();
    const size_t number = patterns.size() + 1;
    if (entry.empty()) {
      return fail(ErrorCode::kInvalid, "hostname {} of the list is empty; separate hostnames by one comma",
                  number);
    }
    auto pattern = HostPattern::parse(entry);
    if (!pattern)
      return fail(ErrorCode::kInvalid, "hostname {} of the list: {}", number, pattern.error().message);
    if (!seen.insert(pattern->text()).second) {
      return fail(ErrorCode::kInvalid, "hostname {} appears twice in the list", quoted(pattern->text()));
    }
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

}  // namespace culvert::route
