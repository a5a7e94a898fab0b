#include "hub/invite_handlers.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/log.h"
#include "hub/answers.h"
#include "hub/invite_json.h"
#include "hub/invite_record.h"
#include "hub/page.h"
#include "hub/query.h"
#include "hubapi/pet_name.h"
#include "hubapi/token.h"

namespace culvert::hub {
std::optional<std::string> own_name_among(const std::vector<route::HostPattern>& wanted,
                                          const std::vector<std::string>& public_urls) {
  for (const std::string& text : public_urls) {
    auto url = hubapi::parse_hub_url(text);
    auto own = url ? route::HostPattern::parse(url->host) : std::unexpected(url.error());
    if (own && std::ranges::find(wanted, *own) != wanted.end()) return own->text();
  }
  return std::nullopt;
}

std::string own_name_text(std::string_view own) {
  return fmt::format("hostname {} is the hub's own: it answers there itself; choose another", own);
}

std::string not_stored_text(const Error& error) {
  constexpr std::string_view kDone =
      "the invite is revoked and its agents are cut off, but this is not stored";
  constexpr std::string_view kUntil =
      "until it is, a restart of the node would bring the invite back. The node tries again by itself";
  constexpr std::string_view kRepeat =
      "repeat the command until it succeeds or says that the invite is revoked already";
  switch (error.code) {
    case ErrorCode::kClosed:
      return fmt::format("{}: {}; {}", kDone, error.message, kUntil);
    case ErrorCode::kUnavailable:
      return fmt::format("{} yet, because the hub's database is slow or locked; {}; {}", kDone, kUntil,
                         kRepeat);
    default:
      // The reason itself may name paths: it is for the log.
      return fmt::format(
          "{}, because the hub's database refused it; {}. See the reason in the hub's log "
          "(invite_revocation_not_stored), make room if the disk is full, then {}",
          kDone, kUntil, kRepeat);
  }
}

InviteId InviteHandlers::new_id() {
  InviteId id;
  // The text form begins with '-' when the first six bits are 62: command lines would take it for a flag.
  do {
    random_.fill(id);
  } while (id[0] >> 2 == 62);
  return id;
}

net::Task<http::Response> InviteHandlers::create(const http::Exchange& exchange) {
  auto wanted = parse_invite_request(exchange.request.body);
  if (!wanted) co_return error_response(400, "invalid_request", wanted.error().message);
  if (auto own = own_name_among(wanted->hostnames, config_.public_urls)) {
    co_return error_response(400, "invalid_request", own_name_text(*own));
  }
  InviteId id = new_id();
  auto secret = SecretBytes<32>::random(random_);
  SecretKey tenant_key = SecretKey::generate(random_);
  UnixTime wall = config_.wall_clock();
  Invite invite{.id = id,
                .name = wanted->name ? *wanted->name : hubapi::pet_name(random_),
                .tenant = tenant_key.public_key(),
                .secret_hash = hmac_sha256(ledger_.hash_key(), secret.expose()),
                .hostnames = std::move(wanted->hostnames),
                .created_at = wall,
                .expires_at = std::nullopt,
                .revoked = false,
                .quotas = wanted->quotas,
                .ports = std::move(wanted->ports),
                .allow_custom_domains = wanted->allow_custom_domains};
  if (wanted->expires_in) invite.expires_at = wall + *wanted->expires_in;
  auto added = co_await ledger_.commit(
      {.touches = {std::string(kInviteKind)},
       .judge = [&]() -> Result<Batch> {
         auto records = invites_.add(invite, wall, wanted->allow_overlap);
         if (!records) return std::unexpected(records.error());
         return Batch{.records = std::move(*records),
                      .audit = {{.at = wall,
                                 .actor = exchange.user,
                                 .action = "invite.create",
                                 .subject = invite_key(id),
                                 .before = {},
                                 .after = invite_json(invite, wall)}}};
       },
       .stored_too_late =
           [this, id, actor = exchange.user] {
             log_warn("invite_revoked", "invite={} meaning={}", invite_key(id),
                      culvert::quoted("it was stored too late for its token to be shown"));
             (void)invites_.revoke(id, revocation_of(id, actor));
             ledger_.flush_later();
           }});
  if (!added) {
    const Error& error = added.error();
    if (error.code == ErrorCode::kLimit) co_return error_response(409, "invite_limit", error.message);
    if (error.code == ErrorCode::kConflict) co_return error_response(409, "hostname_conflict", error.message);
    co_return failures_.answer(error, exchange.now);
  }
  log_info("invite_created", "invite={} name={} hostnames={}", invite_key(id), culvert::quoted(invite.name),
           invite.hostnames.size());
  hubapi::InviteToken token{config_.public_urls, config_.key.public_key(), id, secret, tenant_key};
  co_return json_response(200, created_invite_json(invite, SecretString::take(token.encode())));
}

http::Response InviteHandlers::list(const http::Exchange& exchange, std::string_view member) const {
  auto query = Query::read(exchange, {"after"});
  if (!query) return bad_query(query.error());
  std::optional<InviteId> after;
  if (const auto text = query->text("after")) {
    after = parse_invite_id(*text);
    if (!after) return error_response(400, "invalid_request", "after=... is not the id of an invite");
  }
  auto invites = invites_.list(after, Page::kMaxEntries + 1);
  if (!invites) return error_response(404, "not_found", invites.error().message);
  const UnixTime wall = config_.wall_clock();
  Page page;
  for (const Invite& invite : *invites) {
    if (!page.add(invite_json(invite, wall), invite_key(invite.id))) break;
  }
  return page.answer(member);
}

AuditEntry InviteHandlers::revocation_of(const InviteId& id, const std::string& actor) const {
  const UnixTime wall = config_.wall_clock();
  AuditEntry entry{.at = wall,
                   .actor = actor,
                   .action = "invite.revoke",
                   .subject = invite_key(id),
                   .before = {},
                   .after = {}};
  if (auto invite = invites_.find(id); invite && *invite != nullptr)
    entry.before = invite_json(**invite, wall);
  return entry;
}

net::Task<http::Response> InviteHandlers::show(const http::Exchange& exchange) {
  auto invite = find(exchange.rest);
  if (!invite) co_return error_response(404, "not_found", invite.error().message);
  co_return json_response(200, invite_json(**invite, config_.wall_clock()));
}

// The text is an invite's id, or that of a tenant that is known.
std::optional<InviteId> InviteHandlers::id_in(std::string_view text) const {
  const auto tenant = PublicKey::parse(text);
  if (!tenant) return parse_invite_id(text);
  const Invite* invite = invites_.find_tenant(*tenant);
  return invite == nullptr ? std::nullopt : std::optional(invite->id);
}

Result<const Invite*> InviteHandlers::find(std::string_view text) const {
  const auto id = id_in(text);
  auto invite = id ? invites_.find(*id) : Result<const Invite*>(nullptr);
  if (invite && *invite == nullptr)
    return fail(ErrorCode::kNotFound, "no invite or tenant has the id {}", culvert::quoted(text));
  return invite;
}

Result<Batch> InviteHandlers::judge_change(const InviteId& id, const InviteChange& wanted,
                                           const std::string& actor, UnixTime wall) const {
  auto found = invites_.find(id);
  if (!found) return std::unexpected(found.error());
  if (*found == nullptr || (*found)->revoked)
    return fail(ErrorCode::kNotFound, "the invite is revoked, and cannot be changed; create another one");
  auto changed = wanted.applied_to(**found, wall);
  if (!changed) return std::unexpected(changed.error());
  const std::string before = invite_json(**found, wall), after = invite_json(*changed, wall);
  if (before == after) return Batch{};
  auto records = invites_.change(*changed, wall, wanted.allow_overlap);
  if (!records) return std::unexpected(records.error());
  return Batch{.records = std::move(*records),
               .audit = {{.at = wall,
                          .actor = actor,
                          .action = "invite.change",
                          .subject = invite_key(id),
                          .before = before,
                          .after = after}}};
}

net::Task<http::Response> InviteHandlers::change(const http::Exchange& exchange) {
  auto wanted = parse_invite_change(exchange.request.body);
  if (!wanted) co_return error_response(400, "invalid_request", wanted.error().message);
  for (const auto* patterns : {&wanted->added, wanted->hostnames ? &*wanted->hostnames : nullptr}) {
    if (patterns == nullptr) continue;
    if (auto own = own_name_among(*patterns, config_.public_urls))
      co_return error_response(400, "invalid_request", own_name_text(*own));
  }
  auto named = find(exchange.rest);
  if (!named) co_return error_response(404, "not_found", named.error().message);
  const InviteId id = (*named)->id;
  const UnixTime wall = config_.wall_clock();
  auto changed = co_await ledger_.commit({.touches = {std::string(kInviteKind)}, .judge = [&] {
                                            return judge_change(id, *wanted, exchange.user, wall);
                                          }});
  if (!changed) {
    const Error& error = changed.error();
    if (error.code == ErrorCode::kInvalid) co_return error_response(400, "invalid_request", error.message);
    if (error.code == ErrorCode::kNotFound) co_return error_response(404, "not_found", error.message);
    if (error.code == ErrorCode::kConflict) co_return error_response(409, "hostname_conflict", error.message);
    co_return failures_.answer(error, exchange.now);
  }
  log_info("invite_changed", "invite={} by={}", invite_key(id), culvert::quoted(exchange.user));
  auto now = invites_.find(id);
  if (!now || *now == nullptr) co_return error_response(404, "not_found", "the invite was removed meanwhile");
  co_return json_response(200, invite_json(**now, wall));
}

net::Task<http::Response> InviteHandlers::revoke(const http::Exchange& exchange) {
  const auto id = id_in(exchange.rest);
  if (!id) {
    co_return error_response(
        400, "invalid_request",
        "the id is neither an invite's (16 bytes in unpadded base64url) nor that of a tenant that is known");
  }
  // The agents are cut off before the database is asked: it may be slow, or full.
  auto revoked = invites_.revoke(*id, revocation_of(*id, exchange.user));
  if (!revoked) co_return error_response(404, "not_found", revoked.error().message);
  auto stored = co_await ledger_.flush();
  if (!stored) {
    log_error("invite_revocation_not_stored", "invite={} reason={}", invite_key(*id),
              culvert::quoted(stored.error().message));
    co_return error_response(507, "not_stored", not_stored_text(stored.error()));
  }
  log_info("invite_revoked", "invite={}", invite_key(*id));
  co_return json_response(200, R"({"status":"revoked"})");
}

net::Task<http::Response> InviteHandlers::remove(const http::Exchange& exchange) {
  const auto tenant = PublicKey::parse(exchange.rest);
  if (tenant && invites_.find_tenant(*tenant) == nullptr) {
    const char* status = invites_.was_removed(*tenant) ? "removed" : "unknown";
    co_return json_response(200, fmt::format(R"({{"status":"{}"}})", status));
  }
  const auto id = id_in(exchange.rest);
  const Invite* invite = id ? invites_.find(*id).value_or(nullptr) : nullptr;
  const bool is_gone = id && (invite == nullptr ? invites_.was_removed(*id) : invite->revoked) &&
                       !invites_.unstored_revocations().contains(*id);
  if (is_gone) co_return json_response(200, R"({"status":"removed"})");
  co_return co_await revoke(exchange);
}

}  // namespace culvert::hub
