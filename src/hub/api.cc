#include "hub/api.h"

#include <array>

#include "base/encoding.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/answers.h"
#include "hub/openapi.h"
#include "hub/query.h"

namespace culvert::hub {
namespace {

http::Router::Refusals refusals() {
  return {.not_found = [] { return error_response(404, "not_found", "the hub's API has no such path"); },
          .method_not_allowed =
              [](std::string_view allowed) {
                return error_response(405, "method_not_allowed", fmt::format("this path takes {}", allowed));
              }};
}

bool is_request_id(std::string_view text) {
  constexpr size_t kMaxLength = 128;
  return !text.empty() && text.size() <= kMaxLength && is_printable(text) && text.find(' ') == text.npos;
}

}  // namespace

Api::Api(const Config& config, State& state, Ledger& ledger, EdgeSessions& edge_sessions,
         CertificateFeed& certificate_feed, Random& random, std::function<void()> leases_changed)
    : config_(config),
      state_(state),
      ledger_(ledger),
      random_(random),
      replays_(random),
      leases_changed_(std::move(leases_changed)),
      limits_(state.leases, counters_),
      operator_auth_(config.operator_key, state.operator_keys, ledger.hash_key(), limits_, counters_),
      lease_handler_(config, state, ledger, limits_, failures_, counters_, leases_changed_, replays_,
                     refused_),
      invite_handlers_(config, state.invites, ledger, failures_, random),
      entry_handlers_(config, state, ledger, limits_, failures_, counters_),
      operator_key_handlers_(config, state.operator_keys, ledger, failures_, random),
      edge_handlers_(config, state.edges, edge_sessions, certificate_feed, ledger, limits_, failures_,
                     counters_, replays_, random),
      lists_(config, state, refused_),
      audit_handler_(ledger, failures_),
      status_handler_(config, state, ledger, refused_),
      traffic_handler_(config, state),
      router_(refusals()) {
  using http::Exchange;
  using Response = net::Task<http::Response>;
  state_.invites.set_listener([this] { invites_changed(); });
  state_.rules = config_.tenants;
  state_.follow_invites(config_.wall_clock());  // all that were read

  add("GET", "/v1/health", [this](const Exchange&) -> Response { co_return status_handler_.health(); });
  add("GET", "/v1/openapi.json",
      [](const Exchange&) -> Response { co_return json_response(200, std::string(openapi_json())); });
  add("POST", "/v1/leases", [this](const Exchange& e) { return lease_handler_.declare(e); });

  // Above the operators' /v1/edges/*.
  add("PUT", "/v1/edges/self", [this](const Exchange& e) { return edge_handlers_.announce(e); });
  add("POST", "/v1/edges/self/tunnels",
      [this](const Exchange& e) -> Response { co_return edge_handlers_.report(e); });
  add("POST", "/v1/edges/self/certificates",
      [this](const Exchange& e) { return edge_handlers_.certificates(e); });
  router_.add("GET", "/v1/edges/self/routes", [this](Exchange& e) { return edge_handlers_.follow(e); });

  const auto operators = [this](std::string method, std::string pattern, Answer answer) {
    add(std::move(method), std::move(pattern), std::move(answer), [this](Exchange& e) {
      auto refused = operator_auth_.refuse(e);
      return refused ? std::move(refused) : decode_rest(e);
    });
  };
  for (const char* member : {"invites", "tenants"}) {
    const std::string resource = fmt::format("/v1/{}", member);
    const std::string one = fmt::format("{}/*", resource);
    operators("GET", resource,
              [this, member](const Exchange& e) -> Response { co_return invite_handlers_.list(e, member); });
    operators("GET", one, [this](const Exchange& e) { return invite_handlers_.show(e); });
    operators("PATCH", one, [this](const Exchange& e) { return invite_handlers_.change(e); });
  }
  operators("DELETE", "/v1/invites/*", [this](const Exchange& e) { return invite_handlers_.revoke(e); });
  operators("DELETE", "/v1/tenants/*", [this](const Exchange& e) { return invite_handlers_.remove(e); });
  add("POST", "/v1/entries", [this](const Exchange& e) { return entry_handlers_.change(e); });
  // An operator shows a key, a tenant a signature.
  add(
      "GET", "/v1/entries", [this](const Exchange& e) -> Response { co_return entry_handlers_.list(e); },
      [this](Exchange& e) -> std::optional<http::Response> {
        if (e.request.headers.find("Authorization") == nullptr) return std::nullopt;
        return operator_auth_.refuse(e);
      });
  operators("POST", "/v1/invites", [this](const Exchange& e) { return invite_handlers_.create(e); });
  operators("GET", "/v1/operator-keys",
            [this](const Exchange& e) -> Response { co_return operator_key_handlers_.list(e); });
  operators("POST", "/v1/operator-keys",
            [this](const Exchange& e) { return operator_key_handlers_.create(e); });
  operators("DELETE", "/v1/operator-keys/*",
            [this](const Exchange& e) { return operator_key_handlers_.revoke(e); });
  operators("GET", "/v1/edges", [this](const Exchange& e) -> Response { co_return edge_handlers_.list(e); });
  operators("POST", "/v1/edges", [this](const Exchange& e) { return edge_handlers_.create(e); });
  operators("GET", "/v1/edges/*",
            [this](const Exchange& e) -> Response { co_return edge_handlers_.show(e); });
  operators("PATCH", "/v1/edges/*", [this](const Exchange& e) { return edge_handlers_.change(e); });
  operators("DELETE", "/v1/edges/*", [this](const Exchange& e) { return edge_handlers_.revoke(e); });
  operators("GET", "/v1/agents", [this](const Exchange& e) -> Response { co_return lists_.agents(e); });
  operators("GET", "/v1/status", [this](const Exchange&) -> Response { co_return status_handler_.status(); });
  operators("POST", "/v1/reload", [this](const Exchange& e) { return status_handler_.reload(e); });
  operators("GET", "/v1/routes/*", [this](const Exchange& e) -> Response { co_return lists_.route(e); });
  operators("GET", "/v1/certificates",
            [this](const Exchange& e) -> Response { co_return lists_.certificates(e); });
  operators("GET", "/v1/claims", [this](const Exchange& e) -> Response { co_return lists_.claims(e); });
  operators("GET", "/v1/refused-services",
            [this](const Exchange& e) -> Response { co_return lists_.refused_services(e); });
  operators("GET", "/v1/routes", [this](const Exchange& e) -> Response { co_return lists_.routes(e); });
  operators("GET", "/v1/traffic",
            [this](const Exchange& e) -> Response { co_return traffic_handler_.list(e); });
  operators("GET", "/v1/audit", [this](const Exchange& e) { return audit_handler_.list(e); });
}

Api::~Api() { state_.invites.set_listener(nullptr); }

void Api::prepare(http::Exchange& exchange) const {
  const std::string* given = exchange.request.headers.find(kRequestId);
  if (given != nullptr && is_request_id(*given)) {
    exchange.always.add(std::string(kRequestId), *given);
    return;
  }
  std::array<uint8_t, 16> id;
  random_.fill(id);
  exchange.always.add(std::string(kRequestId), to_hex(id));
}

// Also when another hub has changed them.
void Api::invites_changed() {
  state_.follow_invites(config_.wall_clock());
  leases_changed_();
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
  state_.expire(exchange.now, config_.wall_clock());
  refused_.expire(exchange.now);
  http::Response response = co_await answer(exchange);
  // The edge has the new routes before the answer goes out: a client that reads "revoked" may rely on it.
  leases_changed_();
  auto sent = co_await exchange.respond(std::move(response));
  (void)sent;
}

void Api::ended(const http::Exchange& exchange, TimePoint now) {
  requests_.count(exchange, now);
  log_debug("hub_request", "method={} path={} status={} ms={} client={} user={} request_id={}",
            culvert::quoted(exchange.request.method), culvert::quoted(exchange.path()),
            exchange.answer_status,
            std::chrono::duration_cast<std::chrono::milliseconds>(now - exchange.now).count(),
            exchange.client.to_string(), culvert::quoted(exchange.user), request_id(exchange));
}

}  // namespace culvert::hub
