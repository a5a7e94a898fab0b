#include "route/table.h"

#include "base/check.h"

namespace culvert::route {

const char* to_string(TlsMode mode) {
  switch (mode) {
    case TlsMode::kPassthrough:
      return "passthrough";
    case TlsMode::kTerminate:
      return "terminate";
  }
  return "unknown";
}

std::optional<TlsMode> parse_tls_mode(std::string_view text) {
  if (text == "passthrough") return TlsMode::kPassthrough;
  if (text == "terminate") return TlsMode::kTerminate;
  return std::nullopt;
}

Table::Table(std::vector<Route> routes) : routes_(std::move(routes)) {
  by_pattern_.reserve(routes_.size());
  for (size_t i = 0; i < routes_.size(); ++i) {
    CHECK(by_pattern_.emplace(routes_[i].host.text(), i).second);
    agents_.insert(routes_[i].agents.begin(), routes_[i].agents.end());
  }
}

const Route* Table::match(std::string_view host) const {
  // A pattern is not a name: nobody may ask for "*.b.c" itself.
  if (host.starts_with('*')) return nullptr;
  if (auto exact = by_pattern_.find(std::string(host)); exact != by_pattern_.end())
    return &routes_[exact->second];
  const size_t dot = host.find('.');
  if (dot == host.npos || dot == 0) return nullptr;
  auto wildcard = by_pattern_.find("*" + std::string(host.substr(dot)));
  return wildcard == by_pattern_.end() ? nullptr : &routes_[wildcard->second];
}

}  // namespace culvert::route
