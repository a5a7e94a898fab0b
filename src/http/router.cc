#include "http/router.h"

namespace culvert::http {
namespace {

// What the '*' of the pattern stands for, empty without one; nullopt: the path does not match.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with("/*")) return path == pattern ? std::optional(std::string_view()) : std::nullopt;
  std::string_view prefix = pattern.substr(0, pattern.size() - 1);
  return path.starts_with(prefix) ? std::optional(path.substr(prefix.size())) : std::nullopt;
}

}  // namespace

void Router::add(std::string method, std::string pattern, Handler handler, Step before) {
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler), std::move(before)});
}

std::vector<Router::Entry> Router::entries() const {
  std::vector<Entry> entries;
  for (const Route& route : routes_) entries.push_back({route.method, route.pattern});
  return entries;
}

const Router::Route* Router::find(Exchange& exchange, Response& refusal) const {
  std::string allowed;
  const Route* found = nullptr;
  for (const Route& route : routes_) {
    auto rest = match(route.pattern, exchange.path());
    if (!rest) continue;
    allowed += (allowed.empty() ? "" : ", ") + route.method;
    if (found || route.method != exchange.request.method) continue;
    found = &route;
    exchange.pattern = route.pattern;
    exchange.rest = *rest;
  }
  if (found) return found;
  if (allowed.empty()) {
    refusal = refusals_.not_found();
  } else {
    refusal = refusals_.method_not_allowed(allowed);
    refusal.headers.add("Allow", allowed);
  }
  return nullptr;
}

net::Task<> Router::handle(Exchange& exchange) const {
  Response refusal;
  const Route* route = find(exchange, refusal);
  bool is_refused = route == nullptr;
  if (route && route->before) {
    if (auto answer = route->before(exchange)) {
      refusal = std::move(*answer);
      is_refused = true;
    }
  }
  if (is_refused) {
    auto sent = co_await exchange.respond(std::move(refusal));
    (void)sent;
    co_return;
  }
  co_await route->handler(exchange);
}

}  // namespace culvert::http
