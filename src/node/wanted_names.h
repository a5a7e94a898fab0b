#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "route/snapshot.h"

namespace culvert::node {

// The names that are to have a public certificate: those of terminated routes with a live agent, and the
// node's own.
class WantedNames {
 public:
  struct Rules {
    // Whether a wildcard can be proven, by what follows "*.".
    std::function<bool(const std::string& below)> proves_wildcards;
    // `tenant` is empty for names of the node. Called again for a name that gets another tenant.
    std::function<void(const std::string& name, const std::string& tenant)> want;
    std::function<void(const std::string& name)> unwant;
  };

  WantedNames(net::EventLoop& loop, Rules rules) : loop_(loop), rules_(std::move(rules)) {}
  WantedNames(const WantedNames&) = delete;

  // Names of the node itself; those that no CA can know, as addresses, are left out.
  void add_own(const std::vector<std::string>& names);
  void follow(const route::Delta& changes);
  void replace(const route::Snapshot& routes);

  bool contains(const std::string& name) const { return is_own(name) || is_of_route(name); }
  bool is_own(const std::string& name) const { return own_.contains(name); }
  bool is_of_route(const std::string& name) const { return of_routes_.contains(name); }
  const std::set<std::string>& own() const { return own_; }
  // With the tenants.
  const std::map<std::string, std::string>& of_routes() const { return of_routes_; }
  size_t size() const;

 private:
  bool is_wanted(const route::Route& route) const;
  void want(const route::Route& route);
  void unwant(const std::string& name);

  net::EventLoop& loop_;
  const Rules rules_;
  std::set<std::string> own_;
  std::map<std::string, std::string> of_routes_;
};

}  // namespace culvert::node
