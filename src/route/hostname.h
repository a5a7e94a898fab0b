#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::route {

// A DNS hostname or a one-level wildcard "*.suffix", folded to lower case (RFC 1123, RFC 4592).
// Two labels or more, each as base/hostname.h says; '*' only as the complete first label.
class HostPattern {
 public:
  // kInvalid says which label is wrong and why.
  static Result<HostPattern> parse(std::string_view text);

  const std::string& text() const { return text_; }
  bool is_wildcard() const { return text_.starts_with("*."); }
  // Routing: "*.b.c" covers exactly one label before ".b.c" and not "b.c". `host` is folded already.
  bool matches(std::string_view host) const;
  // Granting: `*.b.c` covers any hostname or wildcard below b.c at any depth, on label boundaries; never the
  // apex.
  bool grants(const HostPattern& other) const;
  // True when one name could fall under both grants: what two tenants must not hold.
  bool overlaps(const HostPattern& other) const;

  auto operator<=>(const HostPattern&) const = default;

 private:
  explicit HostPattern(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// The wildcard that covers `host` by one label, "*.b.c" for "a.b.c"; empty: none can.
std::string wildcard_above(std::string_view host);

// Comma-separated patterns; kInvalid names the entry. Empty entries and duplicates are errors.
Result<std::vector<HostPattern>> parse_host_patterns(std::string_view comma_separated);

}  // namespace culvert::route
