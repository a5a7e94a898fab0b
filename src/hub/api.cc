#include "hub/api.h"

#include <boost/json/serialize.hpp>

#include "base/version.h"
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

Api::Api(const Config& config, State& state, Ledger& ledger, Leases& leases, Random& random,
         std::function<void()> leases_changed)
    : config_(config),
      leases_(leases),
      leases_changed_(std::move(leases_changed)),
      limits_(leases, counters_),
      operator_auth_(config.operator_key, counters_),
      lease_handler_(config, state.invites, ledger.hash_key(), leases, limits_, failures_, counters_),
      invite_handlers_(config, state.invites, ledger, leases, limits_, failures_, random, leases_changed_),
      router_(refusals()) {
  using http::Exchange;
  http::Router::Step operators_only = [this](const Exchange& e) { return operator_auth_.refuse(e); };

  add("GET", "/v1/health", [this](const Exchange&) { return health(); });
  add("POST", "/v1/leases", [this](const Exchange& e) { return lease_handler_.declare(e); });
  add("GET", "/v1/invites", [this](const Exchange& e) { return invite_handlers_.list(e); }, operators_only);
  add(
      "POST", "/v1/invites", [this](const Exchange& e) { return invite_handlers_.create(e); },
      operators_only);
  add(
      "DELETE", "/v1/invites/*", [this](const Exchange& e) { return invite_handlers_.revoke(e); },
      operators_only);
}

void Api::add(std::string method, std::string pattern, Answer answer, http::Router::Step before) {
  router_.add(
      std::move(method), std::move(pattern),
      [this, answer = std::move(answer)](http::Exchange& exchange) { return respond(exchange, answer); },
      std::move(before));
}

// `answer` is the router's.
net::Task<> Api::respond(http::Exchange& exchange, const Answer& answer) {
  auto body = co_await exchange.read_all(kMaxBody);
  if (!body) co_return;                        // the server tells the client why
  WipeAtEnd wipe_body(exchange.request.body);  // declarations hold the secret of their invite
  // What expired must neither be served nor stand in the way of this request.
  leases_.expire(exchange.now, config_.wall_clock());
  http::Response response = co_await answer(exchange);
  // The edge has the new routes before the answer goes out: a client that reads "revoked" may rely on it.
  leases_changed_();
  auto sent = co_await exchange.respond(std::move(response));
  (void)sent;
}

net::Task<http::Response> Api::health() const {
  boost::json::object body{{"status", "ok"},
                           {"version", kVersion},
                           {"hub_key", config_.hub_key.to_string()},
                           {"protocol_version", hubapi::kDeclarationVersion}};
  co_return json_response(200, boost::json::serialize(body));
}

}  // namespace culvert::hub
