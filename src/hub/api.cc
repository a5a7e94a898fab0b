#include "hub/api.h"

#include <boost/json/serialize.hpp>

#include "base/version.h"
#include "http/date.h"
#include "hub/answers.h"

namespace culvert::hub {
namespace {

http::Router::Refusals refusals() {
  return {.not_found = [] { return error_response(404, "not_found", "the hub's API has no such path"); },
          .method_not_allowed =
              [](std::string_view allowed) {
                return error_response(405, "method_not_allowed", fmt::format("this path takes {}", allowed));
              }};
}

}  // namespace

Api::Api(const Config& config, Store& store, Leases& leases, Random& random,
         std::function<void()> leases_changed)
    : config_(config),
      leases_(leases),
      limits_(leases, counters_),
      operator_auth_(config.operator_key, counters_),
      lease_handler_(config, store, leases, limits_, failures_, counters_),
      invite_handlers_(config, store, leases, limits_, failures_, random, std::move(leases_changed)),
      router_(refusals()) {
  using http::Exchange;
  http::Router::Step operators_only = [this](const Exchange& e) { return operator_auth_.refuse(e); };

  router_.add("GET", "/v1/health", [this](const Exchange& e) { return health(e); });
  router_.add("POST", "/v1/leases", [this](const Exchange& e) { return lease_handler_.declare(e); });
  router_.add(
      "GET", "/v1/invites", [this](const Exchange& e) { return invite_handlers_.list(e); }, operators_only);
  router_.add(
      "POST", "/v1/invites", [this](const Exchange& e) { return invite_handlers_.create(e); },
      operators_only);
  router_.add(
      "DELETE", "/v1/invites/*", [this](const Exchange& e) { return invite_handlers_.revoke(e); },
      operators_only);
}

net::Task<http::Response> Api::handle(http::Exchange exchange) {
  // What expired must neither be served nor stand in the way of this request.
  leases_.expire(exchange.now, config_.wall_clock());
  WipeAtEnd wipe_body(exchange.request.body);  // declarations hold the secret of their invite
  http::Response response = co_await router_.handle(exchange);
  response.headers.add("Date", http::format_date(config_.wall_clock()));
  co_return response;
}

net::Task<http::Response> Api::health(const http::Exchange& /*exchange*/) const {
  boost::json::object body{{"status", "ok"},
                           {"version", kVersion},
                           {"hub_key", config_.hub_key.to_string()},
                           {"protocol_version", hubapi::kDeclarationVersion}};
  co_return json_response(200, boost::json::serialize(body));
}

}  // namespace culvert::hub
