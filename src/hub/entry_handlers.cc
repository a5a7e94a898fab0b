#include "hub/entry_handlers.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/answers.h"
#include "hub/invite_handlers.h"
#include "hub/invite_record.h"
#include "hub/page.h"
#include "hub/query.h"

// The order of the checks of a change, from the cheapest to those that ask others:
//
// 1. The rate of refusals of the source, and of the tenant that is said to have signed at this source. Every
//    refusal of the steps below with a status 4xx counts for the source, and behind 2 for the tenant there.
// 2. The signature, and that its key is a tenant's. Nothing of the body is looked at before.
// 3. The tenant's rate, wherever it asks from; then, that its invite is live.
// 4. The body, and its sequence: one that is not higher was shown before, or comes late.
// 5. What the tenant may have; for a name that is not granted the DNS is asked, with a deadline.
// 6. All of 4 and 5 but the DNS once more, against what is committed then; and the commit.
namespace culvert::hub {
namespace {

namespace json = boost::json;
using Op = hubapi::EntryChange::Op;

json::object entry_json(const PublicKey& tenant, const Entry& entry, bool is_in_force) {
  json::object out{{"tenant_id", tenant.to_string()},
                   {"hostname", entry.hostname.text()},
                   {"proof", to_string(entry.proof)},
                   {"since", entry.since.time_since_epoch().count()},
                   {"in_force", is_in_force}};
  if (entry.tls_mode) out["tls_mode"] = route::to_string(*entry.tls_mode);
  return out;
}

}  // namespace

EntryHandlers::Signer EntryHandlers::signer_of(const http::Exchange& exchange, std::string_view tag) {
  const UnixTime wall = config_.wall_clock();
  auto signature = http::verify_request(exchange.request, tag, wall);
  if (!signature) {
    ++counters_.bad_signatures;
    return {.refusal = error_response(401, "invalid_signature", signature.error().message)};
  }
  const Invite* invite = invites_.find_tenant(signature->key);
  if (invite != nullptr && !limits_.allow_entry(invite->id, exchange.now)) {  // 3
    return {.invite = invite,
            .refusal = retry_response(429, "rate_limited",
                                      "too many requests of this tenant about its entries; slow down")};
  }
  if (invite == nullptr || invite->revoked) {
    ++counters_.unknown_invites;
    return {.invite = invite,
            .refusal =
                error_response(403, "tenant_not_allowed",
                               "the signature's key is no tenant's of this hub, or the tenant was removed; "
                               "ask the hub's operator for a new token")};
  }
  if (invite->expired(wall)) {
    ++counters_.ended_invites;
    return {.invite = invite,
            .refusal = error_response(410, "invite_expired",
                                      "the invite has expired; ask the hub's operator for a new token")};
  }
  return {.invite = invite};
}

const Invite* EntryHandlers::live(const InviteId& id) const {
  const Invite* invite = invites_.find(id).value_or(nullptr);
  return invite != nullptr && invite->live(config_.wall_clock()) ? invite : nullptr;
}

net::Task<http::Response> EntryHandlers::change(const http::Exchange& exchange) {
  const std::string claimed = http::claimed_key(exchange.request, hubapi::kEntryTag);
  if (!limits_.allow_source(exchange.client, exchange.now, claimed)) {  // 1
    co_return retry_response(429, "rate_limited", "too many refused requests from here; slow down");
  }
  Signer signer = signer_of(exchange, hubapi::kEntryTag);  // 2, 3
  const std::string tenant = signer.invite != nullptr ? claimed : std::string();
  http::Response response;
  if (signer.refusal) {
    response = std::move(*signer.refusal);
  } else {
    response = co_await judge(exchange, *signer.invite);
  }
  const bool is_clients_fault = response.status >= 400 && response.status < 500;
  if (is_clients_fault) limits_.count_refusal(exchange.client, exchange.now, tenant);
  ++(response.status == 200 ? counters_.entries : counters_.entries_refused);
  co_return response;
}

// `invite` is not looked at any more when something was awaited.
net::Task<http::Response> EntryHandlers::judge(const http::Exchange& exchange, const Invite& invite) {
  const InviteId id = invite.id;
  auto change = hubapi::decode_entry_change(exchange.request.body);  // 4
  if (!change) {
    const bool is_op = change.error().code == ErrorCode::kConflict;
    co_return error_response(400, is_op ? "unsupported_op" : "invalid_request", change.error().message);
  }
  if (change->sequence <= invites_.entries().sequence(invite.tenant))
    co_return sequence_conflict(invite.tenant);
  if (invite.suspended) {
    co_return error_response(403, "tenant_suspended",
                             "the hub's operator has suspended this tenant; ask them to resume it");
  }
  if (change->op == Op::kLeave) co_return co_await leave(id, invite.tenant);
  if (auto own = own_name_among({*change->hostname}, config_.public_urls))
    co_return error_response(400, "invalid_request", own_name_text(*own));
  co_return co_await apply(exchange, id, std::move(*change));
}

net::Task<http::Response> EntryHandlers::apply(const http::Exchange& exchange, InviteId id,
                                               hubapi::EntryChange change) {
  const PublicKey tenant = live(id)->tenant;
  std::optional<Proven> proven;
  if (change.op == Op::kPut && !live(id)->is_granted(*change.hostname)) {
    auto found = co_await prove(id, *change.hostname);  // 5
    if (!found && found.error().code == ErrorCode::kUnavailable)
      co_return retry_response(503, "not_proven", found.error().message);
    if (!found) co_return refuse(tenant, change, found.error(), exchange.now);
    proven = *found;
  }
  const UnixTime wall = config_.wall_clock();
  auto stored = co_await ledger_.commit({.touches = {std::string(kInviteKind)}, .judge = [&] {  // 6
                                           return judge_change(id, change, proven, wall);
                                         }});
  if (!stored) co_return refuse(tenant, change, stored.error(), exchange.now);
  log_info("entry_changed", "tenant={} hostname={} sequence={}", tenant.short_text(), change.hostname->text(),
           change.sequence);
  json::object body{{"status", "ok"}, {"sequence", change.sequence}};
  const Entry* entry = invites_.entries().find(tenant, change.hostname->text());
  if (change.op == Op::kPut && entry != nullptr)
    body["entry"] = entry_json(tenant, *entry, invites_.is_in_force(tenant, *entry));
  co_return json_response(200, json::serialize(body));
}

net::Task<Result<EntryHandlers::Proven>> EntryHandlers::prove(InviteId id, route::HostPattern hostname) {
  const Invite* invite = live(id);
  const PublicKey tenant = invite->tenant;
  if (!invite->allow_custom_domains) {
    co_return fail(
        ErrorCode::kUnauthorized,
        "the invite does not grant {}; ask the hub's operator for it, or to allow domains of your own",
        hostname.text());
  }
  const auto rival = invites_.rival_of(id, hostname, config_.wall_clock());
  if (rival && !rival->is_entry) {
    co_return fail(ErrorCode::kUnauthorized,
                   "{} is granted to another tenant of this hub; choose another name", hostname.text());
  }
  auto proof = co_await proof_.find(tenant, hostname);
  if (!proof) co_return std::unexpected(proof.error());
  if (!rival) co_return Proven{*proof, std::nullopt};
  // The domain may have changed hands. A TXT record says whom its holder wants; an address says it of nobody.
  auto theirs = co_await proof_.find(rival->tenant, hostname);
  const bool is_lost = theirs ? *proof == Entry::Proof::kTxt && *theirs == Entry::Proof::kAddress
                              : theirs.error().code == ErrorCode::kUnauthorized;
  if (!is_lost) {
    co_return fail(
        ErrorCode::kConflict,
        "another tenant has proven to have {}, and still does; remove its TXT record, or let the name lead "
        "nowhere until it is yours",
        hostname.text());
  }
  co_return Proven{*proof, rival->tenant};
}

Result<Batch> EntryHandlers::judge_change(const InviteId& id, const hubapi::EntryChange& change,
                                          const std::optional<Proven>& proven, UnixTime wall) const {
  const Invite* invite = live(id);
  if (invite == nullptr)
    return fail(ErrorCode::kUnauthorized,
                "the tenant's invite has ended; ask the hub's operator for a new token");
  const Entries& entries = invites_.entries();
  if (change.sequence <= entries.sequence(invite->tenant))
    return fail(ErrorCode::kConflict, "the sequence is not higher than the last one");
  const std::string& hostname = change.hostname->text();
  const Entry* before = entries.find(invite->tenant, hostname);
  Batch batch{.records = {Entries::sequence_record(invite->tenant, change.sequence)}};
  AuditEntry audit{.at = wall,
                   .actor = fmt::format("tenant {}", invite->tenant.to_string()),
                   .action = change.op == Op::kPut ? "entry.put" : "entry.delete",
                   .subject = hostname};
  if (before != nullptr)
    audit.before =
        json::serialize(entry_json(invite->tenant, *before, invites_.is_in_force(invite->tenant, *before)));
  if (change.op == Op::kDelete) {
    if (before == nullptr) return fail(ErrorCode::kNotFound, "the tenant has no entry {}", hostname);
    batch.records.push_back(Entries::removal_of(invite->tenant, hostname));
  } else {
    if (before == nullptr && entries.of(invite->tenant).size() >= Entries::kMaxPerTenant) {
      return fail(ErrorCode::kLimit, "the tenant has {} entries, the most that one may have; delete some",
                  Entries::kMaxPerTenant);
    }
    if (auto may = check_may(*invite, change, proven, wall); !may) return std::unexpected(may.error());
    const Entry entry{.hostname = *change.hostname,
                      .tls_mode = change.tls_mode,
                      .proof = proven ? proven->proof : Entry::Proof::kGrant,
                      .since = wall};
    batch.records.push_back(Entries::record_of(invite->tenant, entry));
    if (const Entry* lost = proven && proven->loser ? entries.find(*proven->loser, hostname) : nullptr) {
      const bool was_in_force = invites_.is_in_force(*proven->loser, *lost);
      batch.records.push_back(Entries::removal_of(*proven->loser, hostname));
      batch.audit.push_back({.at = wall,
                             .actor = audit.actor,
                             .action = "entry.lose",
                             .subject = hostname,
                             .before = json::serialize(entry_json(*proven->loser, *lost, was_in_force))});
    }
    audit.after = json::serialize(entry_json(invite->tenant, entry, true));
  }
  batch.audit.push_back(std::move(audit));
  return batch;
}

Result<> EntryHandlers::check_may(const Invite& invite, const hubapi::EntryChange& change,
                                  const std::optional<Proven>& proven, UnixTime wall) const {
  const route::HostPattern& hostname = *change.hostname;
  if (!proven) {
    const Invite* owner = invites_.owner_of(hostname, wall);
    if (invite.is_granted(hostname) && owner != nullptr && owner->id == invite.id) return {};
    return fail(
        ErrorCode::kUnauthorized,
        "{} is not this tenant's: the invite does not grant it, or another's grant is more specific; choose "
        "another name",
        hostname.text());
  }
  const auto rival = invites_.rival_of(invite.id, hostname, wall);
  const bool is_free = !rival || (rival->is_entry && proven->loser == rival->tenant);
  if (invite.allow_custom_domains && is_free) return {};
  return fail(ErrorCode::kUnauthorized,
              "{} was given to another tenant, or the invite was changed, meanwhile; try again",
              hostname.text());
}

http::Response EntryHandlers::sequence_conflict(const PublicKey& tenant) const {
  const uint64_t last = invites_.entries().sequence(tenant);
  http::Response response = error_response(
      409, "sequence_conflict",
      fmt::format("the tenant's last change has the sequence {}; sign one that is higher", last));
  json::object body = json::parse(response.body).as_object();
  body["sequence"] = last;
  response.body = json::serialize(body);
  return response;
}

http::Response EntryHandlers::refuse(const PublicKey& tenant, const hubapi::EntryChange& change,
                                     const Error& error, TimePoint now) {
  switch (error.code) {
    case ErrorCode::kUnauthorized:
      return error_response(403, "hostname_not_owned", error.message);
    case ErrorCode::kNotFound:
      return error_response(404, "not_found", error.message);
    case ErrorCode::kLimit:
      return error_response(409, "entry_limit", error.message);
    case ErrorCode::kConflict:
      if (change.sequence <= invites_.entries().sequence(tenant)) return sequence_conflict(tenant);
      return error_response(409, "hostname_conflict", error.message);
    default:
      return failures_.answer(error, now);
  }
}

net::Task<http::Response> EntryHandlers::leave(InviteId id, PublicKey tenant) {
  const UnixTime wall = config_.wall_clock();
  // As a revocation by the operator: in force before it is stored.
  auto revoked = invites_.revoke(id, {.at = wall,
                                      .actor = fmt::format("tenant {}", tenant.to_string()),
                                      .action = "tenant.leave",
                                      .subject = invite_key(id),
                                      .before = invite_json(*live(id), wall)});
  if (!revoked) co_return error_response(404, "not_found", revoked.error().message);
  auto stored = co_await ledger_.flush();
  if (!stored) co_return error_response(507, "not_stored", not_stored_text(stored.error()));
  log_info("tenant_left", "invite={}", invite_key(id));
  co_return json_response(200, R"({"status":"removed"})");
}

http::Response EntryHandlers::list(const http::Exchange& exchange) {
  auto query = Query::read(exchange, {"tenant", "after"});
  if (!query) return bad_query(query.error());
  std::optional<PublicKey> only;
  std::string_view after = query->text("after").value_or("");
  const std::string_view named = query->text("tenant").value_or("");
  if (exchange.user.empty()) {
    const std::string claimed = http::claimed_key(exchange.request, hubapi::kEntriesTag);
    if (!limits_.allow_source(exchange.client, exchange.now, claimed))
      return retry_response(429, "rate_limited", "too many refused requests from here; slow down");
    Signer signer = signer_of(exchange, hubapi::kEntriesTag);
    if (signer.refusal) {
      limits_.count_refusal(exchange.client, exchange.now, signer.invite != nullptr ? claimed : "");
      return std::move(*signer.refusal);
    }
    only = signer.invite->tenant;
    if (!named.empty() && named != only->to_string())
      return error_response(403, "tenant_not_allowed", "a tenant sees its own entries only");
  } else if (!named.empty()) {
    auto tenant = PublicKey::parse(named);
    if (!tenant) return error_response(400, "invalid_request", tenant.error().message);
    only = *tenant;
  }
  const Entries& entries = invites_.entries();
  Page page;
  // False: the page is full.
  const auto add_those_of = [&](const PublicKey& tenant, std::string_view behind) {
    const Entries::Map& all = entries.of(tenant);
    for (auto each = all.upper_bound(behind); each != all.end(); ++each) {
      const bool is_in_force = invites_.is_in_force(tenant, each->second);
      std::string key = only ? each->first : fmt::format("{}/{}", tenant.to_string(), each->first);
      if (!page.add(json::serialize(entry_json(tenant, each->second, is_in_force)), std::move(key)))
        return false;
    }
    return true;
  };
  if (only) {
    add_those_of(*only, after);
  } else {
    const std::string_view first = after.substr(0, after.find('/'));
    auto tenant = entries.all().begin();
    if (!after.empty()) {
      auto parsed = PublicKey::parse(first);
      if (!parsed || first.size() == after.size())
        return error_response(400, "invalid_request", "after=... is not TENANT/HOSTNAME");
      tenant = entries.all().lower_bound(*parsed);
      if (tenant != entries.all().end() && tenant->first == *parsed) {
        if (add_those_of(*parsed, after.substr(first.size() + 1))) ++tenant;
      }
    }
    while (tenant != entries.all().end() && !page.is_full() && add_those_of(tenant->first, "")) ++tenant;
  }
  json::object rest;
  if (only) rest["sequence"] = entries.sequence(*only);
  return page.answer("entries", json::serialize(rest));
}

}  // namespace culvert::hub
