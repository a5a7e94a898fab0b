#include "hub/lease_handler.h"

#include <algorithm>
#include <iterator>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/log.h"
#include "hub/answers.h"
#include "hub/invite_handlers.h"
#include "hubapi/declaration.h"

// The order of a declaration's steps is part of the hub's security. Any host may send one, so each step keeps
// away from the next what it can refuse, from the cheapest to those that change something:
//
//  1. Decode. The body is bounded by Api::kMaxBody; nothing in it is proven yet.
//  2. The rate of refusals of the source, before a signature is verified. Who names a
//     lease that exists is exempt: only the agent, its hub and its edges know invite id and agent id
//     together, and other hosts behind its address must not make it lose its lease.
//  3. What could not be decoded is refused. Every refusal of a step from here on with a status 4xx counts for
//     2, but for that of step 4: up to 7 for the source, and behind it for the tenant at that source, so that
//     it is nothing to other tenants behind the same address.
//  4. The instance of the hub that it is signed for: http::ReplayGuard. Every agent meets this once with each
//     start of a hub, so it takes from no rate; nothing was verified, and the answer tells nothing that is
//     secret.
//  5. The signature, with its time: the body is what the holder of its key sent, to this instance.
//  6. The invite.
//  7. Key and secret of the invite, compared in constant time; one answer for both, so that it does not tell
//     which of them is wrong.
//  8. The rate of the invite or of the lease, wherever the agents are: behind 7, so that an unauthenticated
//     peer cannot use it up, and before anything else is done for a tenant.
//  9. The agent's own signature, when there is one: who claims to hold the key of agent_id must prove it.
//     Behind 7, so that an unauthenticated peer causes one verification at most.
// 10. Revoked, and
// 11. expired: told only to those who hold the token.
// 12. Replays. The guard remembers what it admitted: behind 8, so that only a tenant can fill it, and no
//     faster than its rate.
// 13. Eviction by an exclusive agent: one that is evicted claims no port.
// 14. The claims of ports, which are stored first. Nothing is awaited before; behind it
// 15. 10 and 11 once more: an invite that ended meanwhile gets no lease.
// 16. The lease.
namespace culvert::hub {
namespace {

// An agent waits this long for the database at most.
constexpr Duration kStoreTime = std::chrono::seconds(1);
// For a claim: without it the port is refused.
constexpr Duration kClaimTime = std::chrono::seconds(3);
constexpr std::chrono::seconds kClaimRetry(10);
// Another declaration may get a port first; each try finds what those before left.
constexpr int kClaimTries = 5;

}  // namespace

net::Task<http::Response> LeaseHandler::declare(const http::Exchange& exchange) {
  auto declaration = hubapi::decode_declaration(exchange.request.body);  // 1
  bool renews = declaration && leases_.renewals(declaration->invite_id, declaration->agent_id) != nullptr;
  const std::string claimed = declaration ? to_hex(declaration->invite_id) : "";
  if (!renews && !limits_.allow_source(exchange.client, exchange.now, claimed)) {  // 2
    co_return retry_response(429, "rate_limited", "too many refused declarations from here; slow down");
  }
  http::Response response;
  if (declaration && !replays_.is_addressed(exchange.request)) {  // 4
    ++counters_.other_instance;
    co_return sign_again_response(replays_);
  }
  bool is_tenants = false;
  if (declaration) {
    response = co_await judge(exchange, *declaration, is_tenants);
    co_await store(declaration->agent_id, exchange.now);
  } else {  // 3
    ++counters_.invalid;
    bool version = declaration.error().code == ErrorCode::kConflict;
    response = error_response(version ? 422 : 400, version ? "unsupported_version" : "invalid_request",
                              declaration.error().message);
  }
  bool is_clients_fault = response.status >= 400 && response.status < 500;
  if (is_clients_fault)
    limits_.count_refusal(exchange.client, exchange.now, is_tenants ? claimed : std::string());
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

net::Task<http::Response> LeaseHandler::judge(const http::Exchange& exchange,
                                              const hubapi::Declaration& declaration, bool& is_tenants) {
  const TimePoint now = exchange.now;
  if (auto refused = check(exchange, declaration, is_tenants)) co_return std::move(*refused);
  if (auto evicted =
          leases_.why_evicted(declaration.invite_id, declaration.agent_id, declaration.is_exclusive)) {  // 13
    ++counters_.agent_conflicts;
    co_return error_response(409, "agent_evicted", evicted->message);
  }
  auto ports = co_await claim(declaration, now);  // 14
  co_return lease(declaration, std::move(ports), http::has_signature(exchange.request, hubapi::kAgentTag),
                  now);
}

std::optional<http::Response> LeaseHandler::check(const http::Exchange& exchange,
                                                  const hubapi::Declaration& declaration, bool& is_tenants) {
  const TimePoint now = exchange.now;
  UnixTime wall = config_.wall_clock();
  auto signature = http::verify_request(exchange.request, hubapi::kLeaseTag, wall);  // 5
  if (!signature) return refuse(401, "invalid_signature", signature.error().message, exchange);

  auto found = invites_.find(declaration.invite_id);  // 6
  if (!found) {
    ++counters_.busy;
    return failures_.answer(found.error(), now);
  }
  if (*found == nullptr) return refuse_ended(nullptr);
  const Invite& invite = **found;

  Sha256 shown = hmac_sha256(ledger_.hash_key(), declaration.invite_secret.expose());  // 7
  bool right_secret = equal_constant_time(shown, invite.secret_hash);
  bool right_key = signature->key == invite.tenant;
  if (!right_secret || !right_key) {
    return refuse(401, "unauthorized", "the token's key or secret is not this invite's", exchange);
  }
  is_tenants = true;
  if (!limits_.allow_declaration(invite.id, declaration.agent_id, now)) {  // 8
    return retry_response(429, "rate_limited", "too many declarations with this invite; slow down");
  }
  const bool claims_key = http::has_signature(exchange.request, hubapi::kAgentTag);  // 9
  if (claims_key) {
    auto proof = http::verify_request(exchange.request, hubapi::kAgentTag, wall);
    if (!proof) return refuse(401, "invalid_signature", proof.error().message, exchange);
    if (proof->key != declaration.agent_id) {
      return refuse(401, "invalid_signature", "the agent's signature is by another key than its agent_id",
                    exchange);
    }
  }
  if (auto ended = refuse_ended(&invite)) return ended;               // 10, 11
  if (auto admitted = replays_.admit(*signature, wall); !admitted) {  // 12
    if (admitted.error().code == ErrorCode::kLimit) {
      ++counters_.busy;
      return error_response(503, "busy", admitted.error().message);
    }
    return refuse(401, "replayed", admitted.error().message, exchange);
  }
  return std::nullopt;
}

std::optional<http::Response> LeaseHandler::refuse_ended(const Invite* invite) {
  if (invite == nullptr) {
    ++counters_.unknown_invites;
    return error_response(404, "unknown_invite", "unknown invite; ask the hub's operator for a new token");
  }
  const UnixTime wall = config_.wall_clock();
  if (invite->live(wall)) return std::nullopt;
  ++counters_.ended_invites;
  if (invite->revoked) {
    return error_response(401, "invite_revoked",
                          "the invite was revoked; ask the hub's operator for a new token");
  }
  return error_response(410, "invite_expired",
                        "the invite has expired; ask the hub's operator for a new token");
}

Claims::Judgement LeaseHandler::judge_ports(const hubapi::Declaration& declaration, TimePoint now) const {
  const auto invite = invites_.find(declaration.invite_id);
  const bool is_live = invite && *invite != nullptr && (*invite)->live(config_.wall_clock());
  if (!is_live) return {};  // step 15 says so
  return claims_.judge(**invite, declaration.agent_id, declaration.ports, config_.tenants, leases_, now);
}

Batch LeaseHandler::claim_batch(const hubapi::Declaration& declaration, TimePoint now) const {
  Batch batch{.records = judge_ports(declaration, now).records};
  const Invite* invite = invites_.find(declaration.invite_id).value_or(nullptr);
  if (invite == nullptr) return batch;
  const std::string actor = fmt::format("tenant {}", invite->tenant.to_string());
  batch.audit = claims_.audit_of(batch.records, actor, config_.wall_clock());
  return batch;
}

net::Task<std::vector<hubapi::PortVerdict>> LeaseHandler::claim(const hubapi::Declaration& declaration,
                                                                TimePoint now) {
  Claims::Judgement judged = judge_ports(declaration, now);
  Result<> stored;
  for (int tries = 0; !judged.records.empty() && stored && tries < kClaimTries; ++tries) {
    stored =
        co_await ledger_.commit({.touches = judged.touches,
                                 .judge = [&]() -> Result<Batch> { return claim_batch(declaration, now); },
                                 .patience = kClaimTime});
    judged = judge_ports(declaration, now);
  }
  // What could not be stored is refused: another hub may give the port to somebody else.
  for (hubapi::PortVerdict& verdict : judged.verdicts) {
    const Claims::Claim* claim = claims_.find(verdict.ports());
    const bool is_stored =
        claim != nullptr && claim->invite == declaration.invite_id && claim->service == verdict.name;
    if (!verdict.accepted || is_stored) continue;
    verdict.accepted = false;
    verdict.reason = stored ? "other agents claimed ports at the same time; ask again"
                            : "the hub's database cannot store the claim now; ask again";
    verdict.retry_after = kClaimRetry;
  }
  co_return std::move(judged.verdicts);
}

void LeaseHandler::note_refused(const Invite& invite, const EndpointId& agent,
                                const std::vector<hubapi::ServiceVerdict>& services,
                                const std::vector<hubapi::PortVerdict>& ports, TimePoint now) {
  const auto is_refused = [](const auto& verdict) { return !verdict.accepted; };
  counters_.refused_hostnames += static_cast<uint64_t>(std::ranges::count_if(services, is_refused));
  counters_.refused_ports += static_cast<uint64_t>(std::ranges::count_if(ports, is_refused));
  for (const auto& fresh : refused_.note(invite.id, agent, services, ports, now, config_.wall_clock())) {
    if (!refused_lines_.allow(now)) return;
    log_info("service_refused", "agent={} tenant={} wanted={} service={} reason={}", agent.short_text(),
             invite.tenant.short_text(), culvert::quoted(fresh.wanted), culvert::quoted(fresh.service),
             culvert::quoted(fresh.reason));
  }
}

http::Response LeaseHandler::lease(const hubapi::Declaration& declaration,
                                   std::vector<hubapi::PortVerdict> ports, bool is_proven, TimePoint now) {
  const auto found = invites_.find(declaration.invite_id);
  const Invite* invite = found.value_or(nullptr);
  if (auto ended = refuse_ended(invite)) return std::move(*ended);  // 15
  const UnixTime wall = config_.wall_clock();
  LeaseTerms terms{
      .is_proven = is_proven,
      .is_exclusive = declaration.is_exclusive,
      .limits = config_.tenants.limits.with(invite->quotas),
      .owns = [&](const route::HostPattern& hostname) { return invites_.owner_of(hostname, wall) == invite; },
      .why_not = [&](const route::HostPattern& hostname) -> std::optional<std::string> {
        const auto own = own_name_among({hostname}, config_.public_urls);
        return own ? std::optional(own_name_text(*own)) : std::nullopt;
      },
      .mode_of = [&](const route::HostPattern& hostname) { return invites_.mode_of(*invite, hostname); }};
  for (const hubapi::PortVerdict& verdict : ports) {
    if (!verdict.accepted) continue;
    terms.ports.push_back({verdict.protocol, verdict.name, verdict.listen_port, verdict.more_ports});
  }
  auto services =
      leases_.declare(*invite, declaration.agent_id, declaration.services, now, std::move(terms));  // 16
  if (!services) {
    bool limit = services.error().code == ErrorCode::kLimit;
    ++(limit ? counters_.lease_limits : counters_.agent_conflicts);
    return error_response(limit ? 429 : 409, limit ? "lease_limit" : "agent_conflict",
                          services.error().message);
  }
  for (hubapi::PortVerdict& verdict : ports) {
    if (!verdict.accepted) continue;
    verdict.others = leases_.others(verdict.ports(), declaration.agent_id, now);
  }
  ++counters_.declarations;
  note_refused(*invite, declaration.agent_id, *services, ports, now);
  return grant(*invite, std::move(*services), std::move(ports));
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

http::Response LeaseHandler::grant(const Invite& invite, std::vector<hubapi::ServiceVerdict> services,
                                   std::vector<hubapi::PortVerdict> ports) const {
  hubapi::LeaseAnswer answer{.tenant = invite.tenant,
                             .granted = {},
                             .edges = edges_.dialled(),
                             .services = std::move(services),
                             .public_port = config_.public_port,
                             .internal_ca_pem = config_.internal_ca_pem,
                             .renew_after = {},
                             .is_suspended = invite.suspended,
                             .ports = std::move(ports)};
  std::ranges::copy(config_.edges, std::back_inserter(answer.edges));
  answer.renew_after = answer.edges.empty() ? Leases::look_again(leases_.size()) : Leases::kRenewAfter;
  if (!config_.has_public_ca) answer.internal_ca_pem += edges_.internal_ca_pem();
  for (const auto* patterns : {&invite.hostnames, &invite.entered}) {
    for (const auto& pattern : *patterns) answer.granted.push_back(pattern.text());
  }
  return json_response(200, hubapi::encode(answer));
}

}  // namespace culvert::hub
