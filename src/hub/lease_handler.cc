#include "hub/lease_handler.h"

#include <algorithm>
#include <iterator>

#include "base/crypto.h"
#include "base/log.h"
#include "hub/answers.h"
#include "hubapi/declaration.h"

// The order of a declaration's steps is part of the hub's security. Any host may send one, so each step keeps
// away from the next what it can refuse, from the cheapest to those that change something:
//
//  1. Decode. The body is bounded by Api::kMaxBody; nothing in it is proven yet.
//  2. The rate of refusals of the source, before a signature is verified. Who names a
//     lease that exists is exempt: only the agent, its hub and its edges know invite id and agent id
//     together, and other hosts behind its address must not make it lose its lease.
//  3. What could not be decoded is refused. Every refusal of a step from here on with a status 4xx counts for
//     2, but for that of step 4.
//  4. The instance of the hub that it is signed for: http::ReplayGuard. Every agent meets this once with each
//     start of a hub, so it takes from no rate; nothing was verified, and the answer tells nothing that is
//     secret.
//  5. The signature, with its time: the body is what the holder of its key sent, to this instance.
//  6. The invite.
//  7. Key and secret of the invite, compared in constant time; one answer for both, so that it does not tell
//     which of them is wrong.
//  8. The agent's own signature, when there is one: who claims to hold the key of agent_id must prove it.
//     Behind 7, so that an unauthenticated peer causes one verification at most.
//  9. Revoked, and
// 10. expired: told only to those who hold the token.
// 11. The rate of the invite or of the lease: behind 7, so that unauthenticated peers cannot use it up.
// 12. Replays. The guard remembers what it admitted: behind 11, so that only a tenant can fill it, and no
//     faster than its rate.
// 13. The lease. Nothing is awaited between 6 and here: an invite that is revoked meanwhile gets no lease.
namespace culvert::hub {
namespace {

// An agent waits this long for the database at most.
constexpr Duration kStoreTime = std::chrono::seconds(1);

}  // namespace

net::Task<http::Response> LeaseHandler::declare(const http::Exchange& exchange) {
  auto declaration = hubapi::decode_declaration(exchange.request.body);  // 1
  bool renews = declaration && leases_.renewals(declaration->invite_id, declaration->agent_id) != nullptr;
  if (!renews && !limits_.allow_source(exchange.client, exchange.now)) {  // 2
    co_return retry_response(429, "rate_limited", "too many refused declarations from here; slow down");
  }
  http::Response response;
  if (declaration && !replays_.is_addressed(exchange.request)) {  // 4
    ++counters_.other_instance;
    co_return sign_again_response(replays_);
  }
  if (declaration) {
    response = judge(exchange, *declaration);
    co_await store(declaration->agent_id, exchange.now);
  } else {  // 3
    ++counters_.invalid;
    bool version = declaration.error().code == ErrorCode::kConflict;
    response = error_response(version ? 422 : 400, version ? "unsupported_version" : "invalid_request",
                              declaration.error().message);
  }
  bool is_clients_fault = response.status >= 400 && response.status < 500;
  if (is_clients_fault) limits_.count_refusal(exchange.client, exchange.now);
  co_return response;
}

net::Task<> LeaseHandler::store(const EndpointId& agent, TimePoint now) {
  if (!leases_.is_unstored(agent)) co_return;
  leases_changed_();  // edges do not wait for the database
  auto stored = co_await ledger_.flush(kStoreTime);
  if (!stored && not_stored_lines_.allow(now)) {
    log_warn("lease_not_stored", "agent={} reason={} meaning={}", agent.short_text(),
             culvert::quoted(stored.error().message),
             culvert::quoted("it is served; the hub tries to store it until it succeeds"));
  }
}

http::Response LeaseHandler::judge(const http::Exchange& exchange, const hubapi::Declaration& declaration) {
  const TimePoint now = exchange.now;
  UnixTime wall = config_.wall_clock();
  auto signature = http::verify_request(exchange.request, hubapi::kLeaseTag, wall);  // 5
  if (!signature) return refuse(401, "invalid_signature", signature.error().message, exchange);

  auto found = invites_.find(declaration.invite_id);  // 6
  if (!found) {
    ++counters_.busy;
    return failures_.answer(found.error(), now);
  }
  if (*found == nullptr) {
    ++counters_.unknown_invites;
    return error_response(404, "unknown_invite", "unknown invite; ask the hub's operator for a new token");
  }
  const Invite& invite = **found;

  Sha256 shown = hmac_sha256(ledger_.hash_key(), declaration.invite_secret.expose());  // 7
  bool right_secret = equal_constant_time(shown, invite.secret_hash);
  bool right_key = signature->key == invite.tenant;
  if (!right_secret || !right_key) {
    return refuse(401, "unauthorized", "the token's key or secret is not this invite's", exchange);
  }
  const bool claims_key = http::has_signature(exchange.request, hubapi::kAgentTag);  // 8
  if (claims_key) {
    auto proof = http::verify_request(exchange.request, hubapi::kAgentTag, wall);
    if (!proof) return refuse(401, "invalid_signature", proof.error().message, exchange);
    if (proof->key != declaration.agent_id) {
      return refuse(401, "invalid_signature", "the agent's signature is by another key than its agent_id",
                    exchange);
    }
  }
  if (invite.revoked || invite.expired(wall)) ++counters_.ended_invites;
  if (invite.revoked) {  // 9
    return error_response(401, "invite_revoked",
                          "the invite was revoked; ask the hub's operator for a new token");
  }
  if (invite.expired(wall)) {  // 10
    return error_response(410, "invite_expired",
                          "the invite has expired; ask the hub's operator for a new token");
  }
  if (!limits_.allow_declaration(invite.id, declaration.agent_id, now)) {  // 11
    return retry_response(429, "rate_limited", "too many declarations with this invite; slow down");
  }
  if (auto admitted = replays_.admit(*signature, wall); !admitted) {  // 12
    if (admitted.error().code == ErrorCode::kLimit) {
      ++counters_.busy;
      return error_response(503, "busy", admitted.error().message);
    }
    return refuse(401, "replayed", admitted.error().message, exchange);
  }
  auto verdicts = leases_.declare(invite, declaration.agent_id, declaration.services, now,
                                  claims_key);  // 13
  if (!verdicts) {
    bool limit = verdicts.error().code == ErrorCode::kLimit;
    ++(limit ? counters_.lease_limits : counters_.agent_conflicts);
    return error_response(limit ? 429 : 409, limit ? "lease_limit" : "agent_conflict",
                          verdicts.error().message);
  }
  ++counters_.declarations;
  return grant(invite, std::move(*verdicts));
}

http::Response LeaseHandler::refuse(int status, std::string_view code, std::string_view message,
                                    const http::Exchange& exchange) {
  ++counters_.bad_signatures;
  if (log_.allow(exchange.now)) {
    log_warn("declaration_refused", "code={} client={} total={} reason={} request_id={}", code,
             exchange.client.ip_text(), counters_.bad_signatures, culvert::quoted(message),
             request_id(exchange));
  }
  return error_response(status, code, message);
}

http::Response LeaseHandler::grant(const Invite& invite, std::vector<hubapi::ServiceVerdict> verdicts) const {
  hubapi::LeaseAnswer answer{.tenant = invite.tenant,
                             .granted = {},
                             .edges = edges_.dialled(),
                             .services = std::move(verdicts),
                             .public_port = config_.public_port,
                             .internal_ca_pem = config_.internal_ca_pem,
                             .renew_after = Leases::kRenewAfter,
                             .is_suspended = invite.suspended};
  std::ranges::copy(config_.edges, std::back_inserter(answer.edges));
  answer.internal_ca_pem += edges_.internal_ca_pem();
  for (const auto& pattern : invite.hostnames) answer.granted.push_back(pattern.text());
  return json_response(200, hubapi::encode(answer));
}

}  // namespace culvert::hub
