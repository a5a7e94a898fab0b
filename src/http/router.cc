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

net::Task<Response> Router::handle(Exchange& exchange) const {
  std::string allowed;
  const Route* found = nullptr;
  for (const Route& route : routes_) {
    auto rest = match(route.pattern, exchange.path());
    if (!rest) continue;
    allowed += (allowed.empty() ? "" : ", ") + route.method;
    if (found || route.method != exchange.request.method) continue;
    found = &route;
    exchange.rest = *rest;
  }
  if (allowed.empty()) co_return refusals_.not_found();
  if (!found) {
    Response response = refusals_.method_not_allowed(allowed);
    response.headers.add("Allow", allowed);
    co_return response;
  }
  if (found->before) {
    std::optional<Response> answer = found->before(exchange);
    if (answer) co_return std::move(*answer);
  }
  Response response = co_await found->handler(exchange);
  co_return response;
}

}  // namespace culvert::http
