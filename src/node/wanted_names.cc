#include "node/wanted_names.h"

#include <algorithm>

#include "base/socket_addr.h"

namespace culvert::node {

void WantedNames::add_own(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (parse_ip(name) || !name.contains('.')) continue;
    own_.insert(name);
    rules_.want(name, "");
  }
}

// A wildcard is proven by DNS alone.
bool WantedNames::is_wanted(const route::Route& route) const {
  const route::HostPattern* hostname = route.match.hostname();
  if (hostname == nullptr || route.tls_mode != route::TlsMode::kTerminate) return false;
  if (route.targets.empty() || route.is_suspended || route.is_over(loop_.unix_now())) return false;
  if (!hostname->is_wildcard()) return true;
  return rules_.proves_wildcards(hostname->text().substr(std::string_view("*.").size()));
}

void WantedNames::follow(const route::Delta& changes) {
  for (const route::RouteId& removed : changes.removals) unwant(removed.text());
  for (const route::Route& changed : changes.upserts) {
    if (is_wanted(changed)) {
      want(changed);
    } else {
      unwant(changed.match.text());
    }
  }
}

void WantedNames::replace(const route::Snapshot& routes) {
  std::set<std::string> gone;
  for (const auto& [name, tenant] : of_routes_) gone.insert(name);
  for (const route::Route* route : routes.routes()) {
    if (!is_wanted(*route)) continue;
    gone.erase(route->match.text());
    want(*route);
  }
  for (const std::string& name : gone) unwant(name);
}

void WantedNames::want(const route::Route& route) {
  const std::string name = route.match.text(), tenant = route.tenant.to_string();
  // Most changes of a route are of its targets.
  const auto known = of_routes_.find(name);
  if (known != of_routes_.end() && known->second == tenant) return;
  of_routes_.insert_or_assign(name, tenant);
  rules_.want(name, tenant);
}

void WantedNames::unwant(const std::string& name) {
  if (of_routes_.erase(name) > 0) rules_.unwant(name);
}

size_t WantedNames::size() const {
  const auto both = std::ranges::count_if(own_, [this](const auto& name) { return is_of_route(name); });
  return own_.size() + of_routes_.size() - static_cast<size_t>(both);
}

}  // namespace culvert::node
