#include "hub/api.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/log.h"
#include "base/version.h"
#include "http/date.h"
#include "hubapi/pet_name.h"
#include "hubapi/token.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

constexpr std::string_view kLeases = "/v1/leases";
constexpr std::string_view kInvites = "/v1/invites";
constexpr std::string_view kHealth = "/v1/health";

// A page of the listing ends near this size: half of what clients accept (http::kMaxResponseBodyBytes).
constexpr size_t kPageBytes = http::kMaxResponseBodyBytes / 2;
constexpr size_t kPageInvites = 5'000;

http::Response respond(int status, const json::object& body) {
  http::Response response{.status = status, .headers = {}, .body = json::serialize(body)};
  response.headers.add("Content-Type", "application/json");
  response.headers.add("Cache-Control", "no-store");  // tokens must not stay in a proxy
  return response;
}

http::Response wrong_method(std::string_view allowed) {
  auto response = error_response(405, "method_not_allowed", fmt::format("this path takes {}", allowed));
  response.headers.add("Allow", std::string(allowed));
  return response;
}

json::value optional_time(const std::optional<UnixTime>& time) {
  return time ? json::value(time->time_since_epoch().count()) : json::value(nullptr);
}

json::array pattern_list(const std::vector<route::HostPattern>& patterns) {
  json::array out;
  for (const auto& pattern : patterns) out.push_back(json::string(pattern.text()));
  return out;
}

const char* status_text(const Invite& invite, UnixTime now) {
  if (invite.revoked) return "revoked";
  return invite.expired(now) ? "expired" : "live";
}

std::optional<InviteId> parse_invite_id(std::string_view text) {
  auto bytes = from_base64url(text);
  InviteId id;
  if (!bytes || bytes->size() != id.size()) return std::nullopt;
  std::ranges::copy(*bytes, id.begin());
  return id;
}

struct InviteRequest {
  std::optional<std::string> name;
  std::vector<route::HostPattern> hostnames;
  std::optional<std::chrono::seconds> expires_in;
};

// Names end up in terminals and logs.
bool is_good_name(std::string_view name) {
  return !name.empty() && name.size() <= Api::kMaxNameLength && name.front() != ' ' && name.back() != ' ' &&
         is_printable(name);
}

Result<InviteRequest> parse_invite_request(std::string_view body) {
  auto invalid = [](std::string message) { return fail(ErrorCode::kInvalid, "{}", message); };
  json::error_code ec;
  json::value value = json::parse(body, ec);
  if (ec || !value.is_object()) return invalid("the body is not a JSON object");
  InviteRequest request;
  for (const auto& [key, member] : value.get_object()) {
    if (key == "name") {
      if (member.is_null()) continue;
      if (!member.is_string() || !is_good_name(member.get_string())) {
        return invalid(fmt::format("\"name\" is not 1 to {} characters without control characters",
                                   Api::kMaxNameLength));
      }
      request.name = std::string(member.get_string());
    } else if (key == "hostnames") {
      if (!member.is_array()) return invalid("\"hostnames\" is not an array");
      if (member.get_array().size() > Api::kMaxHostnames) {
        return invalid(fmt::format("at most {} hostnames fit an invite", Api::kMaxHostnames));
      }
      for (const json::value& entry : member.get_array()) {
        if (!entry.is_string()) return invalid("\"hostnames\" holds something that is not a string");
        auto pattern = route::HostPattern::parse(std::string_view(entry.get_string()));
        if (!pattern) return std::unexpected(pattern.error());
        if (std::ranges::find(request.hostnames, *pattern) != request.hostnames.end()) {
          return invalid(fmt::format("hostname {} is there twice", pattern->text()));
        }
        request.hostnames.push_back(std::move(*pattern));
      }
    } else if (key == "expires_in_secs") {
      if (member.is_null()) continue;
      if (!member.is_int64() || member.get_int64() < 1 ||
          member.get_int64() > hubapi::kMaxInviteExpiry.count()) {
        return invalid(
            fmt::format("\"expires_in_secs\" is not an integer from 1 to {}; leave it out for an invite that "
                        "never expires",
                        hubapi::kMaxInviteExpiry.count()));
      }
      request.expires_in = std::chrono::seconds(member.get_int64());
    } else {
      return invalid(fmt::format("unknown member {}", culvert::quoted(std::string_view(key))));
    }
  }
  if (request.hostnames.empty()) return invalid("\"hostnames\" is missing or empty");
  return request;
}

}  // namespace

http::Response error_response(int status, std::string_view code, std::string_view message) {
  return respond(status, {{"error", {{"code", code}, {"message", message}}}});
}

Api::Api(const Config& config, Store& store, Leases& leases, Random& random)
    : config_(config),
      store_(store),
      leases_(leases),
      random_(random),
      source_log_(5, std::chrono::seconds(10)),
      bearer_log_(5, std::chrono::seconds(10)),
      signature_log_(5, std::chrono::seconds(10)),
      store_log_(5, std::chrono::seconds(10)) {}

http::Response Api::handle(const http::Request& request, const SocketAddr& client, TimePoint now) {
  auto response = answer(request, client, now);
  response.headers.add("Date", http::format_date(config_.wall_clock()));
  return response;
}

http::Response Api::answer(const http::Request& request, const SocketAddr& client, TimePoint now) {
  // What expired must neither be served nor stand in the way of this request.
  leases_.expire(now, config_.wall_clock());
  std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  if (path == kHealth) {
    if (request.method != "GET") return wrong_method("GET");
    return health();
  }
  if (path == kLeases) {
    if (request.method != "POST") return wrong_method("POST");
    return declare(request, client, now);
  }
  bool is_item = path.starts_with(kInvites) && path.size() > kInvites.size() && path[kInvites.size()] == '/';
  if (path != kInvites && !is_item) return error_response(404, "not_found", "the hub's API has no such path");
  if (is_item && request.method != "DELETE") return wrong_method("DELETE");
  if (!is_item && request.method != "GET" && request.method != "POST") return wrong_method("GET, POST");

  if (!is_operator(request, now)) {
    auto response = error_response(401, "unauthorized", "the operator's key is missing or wrong");
    response.headers.add("WWW-Authenticate", "Bearer");
    return response;
  }
  if (is_item) return revoke_invite(path.substr(kInvites.size() + 1), now);
  return request.method == "GET" ? list_invites(request, now) : create_invite(request, now);
}

http::Response Api::health() const {
  return respond(200, {{"status", "ok"},
                       {"version", kVersion},
                       {"hub_key", config_.hub_key.to_string()},
                       {"protocol_version", hubapi::kDeclarationVersion}});
}

http::Response Api::store_failure(const Error& error, TimePoint now) {
  if (store_log_.allow(now)) log_error("hub_store_failed", "reason={}", culvert::quoted(error.message));
  return error_response(503, "storage", "the hub's database refused; see the hub's log");
}

bool Api::is_operator(const http::Request& request, TimePoint now) {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string* given = request.headers.find("authorization");
  if (given && request.headers.count("authorization") == 1 && given->starts_with(kScheme)) {
    // Hashed first, so that not even the length can be timed.
    Sha256 shown = sha256(as_bytes(std::string_view(*given).substr(kScheme.size())));
    if (equal_constant_time(shown, sha256(as_bytes(config_.operator_key)))) return true;
  }
  ++counters_.bad_bearers;
  if (bearer_log_.allow(now)) log_warn("operator_key_refused", "total={}", counters_.bad_bearers);
  return false;
}

bool Api::allow_source(const SocketAddr& client, TimePoint now) {
  auto limit = source_limits_.find(client.source_prefix());
  if (limit == source_limits_.end() || limit->second.would_allow(now)) return true;
  ++counters_.source_limited;
  if (source_log_.allow(now)) {
    log_warn("declarations_limited", "client={} total={}", client.ip_text(), counters_.source_limited);
  }
  return false;
}

void Api::count_refusal(const SocketAddr& client, TimePoint now) {
  // As below: dropping all is rare and costs one burst each.
  if (source_limits_.size() >= kMaxSources) source_limits_.clear();
  (void)source_limits_.try_emplace(client.source_prefix(), kSourceBurst, kSourceInterval)
      .first->second.allow(now);
}

bool Api::allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now) {
  if (RateLimit* renewals = leases_.renewals(invite, agent)) return renewals->allow(now);
  // Removed invites leave entries behind; dropping all is rare and costs one burst each.
  if (declare_limits_.size() >= 2 * Store::kMaxInvites) declare_limits_.clear();
  return declare_limits_.try_emplace(invite, kDeclareBurst, kDeclareInterval).first->second.allow(now);
}

http::Response Api::refuse_declaration(int status, std::string_view code, std::string_view message,
                                       TimePoint now) {
  ++counters_.bad_signatures;
  if (signature_log_.allow(now)) {
    log_warn("declaration_refused", "code={} total={} reason={}", code, counters_.bad_signatures,
             culvert::quoted(message));
  }
  return error_response(status, code, message);
}

http::Response Api::declare(const http::Request& request, const SocketAddr& client, TimePoint now) {
  auto declaration = hubapi::decode_declaration(request.body);
  // The ids are not proven yet, but only the agent, its hub and its edges know this pair.
  bool renews = declaration && leases_.renewals(declaration->invite_id, declaration->agent_id) != nullptr;
  if (!renews && !allow_source(client, now)) {
    auto response = error_response(429, "rate_limited", "too many refused declarations from here; slow down");
    response.headers.add("Retry-After", "1");
    return response;
  }
  http::Response response;
  if (declaration) {
    response = judge_declaration(request, *declaration, now);
  } else {
    bool version = declaration.error().code == ErrorCode::kConflict;
    response = error_response(version ? 422 : 400, version ? "unsupported_version" : "invalid_request",
                              declaration.error().message);
  }
  bool is_clients_fault = response.status >= 400 && response.status < 500;
  if (is_clients_fault) count_refusal(client, now);
  return response;
}

http::Response Api::judge_declaration(const http::Request& request, const hubapi::Declaration& declaration,
                                      TimePoint now) {
  UnixTime wall = config_.wall_clock();
  auto signature = http::verify_request(request, hubapi::kLeaseTag, wall);
  if (!signature) return refuse_declaration(401, "invalid_signature", signature.error().message, now);
  auto found = store_.find_invite(declaration.invite_id);
  if (!found) return store_failure(found.error(), now);
  if (!*found)
    return error_response(404, "unknown_invite", "unknown invite; ask the hub's operator for a new token");
  const Invite& invite = **found;

  Sha256 shown = hmac_sha256(store_.hash_key(), declaration.invite_secret);
  bool right_secret = equal_constant_time(shown, invite.secret_hash);
  bool right_key = signature->key == invite.tenant;
  if (!right_secret || !right_key) {
    return refuse_declaration(401, "unauthorized", "the token's key or secret is not this invite's", now);
  }
  const bool claims_key = http::has_signature(request, hubapi::kAgentTag);
  if (claims_key) {
    auto proof = http::verify_request(request, hubapi::kAgentTag, wall);
    if (!proof) return refuse_declaration(401, "invalid_signature", proof.error().message, now);
    if (proof->key != declaration.agent_id) {
      return refuse_declaration(401, "invalid_signature",
                                "the agent's signature is by another key than its agent_id", now);
    }
  }
  if (invite.revoked) {
    return error_response(401, "invite_revoked",
                          "the invite was revoked; ask the hub's operator for a new token");
  }
  if (invite.expired(wall)) {
    return error_response(410, "invite_expired",
                          "the invite has expired; ask the hub's operator for a new token");
  }
  if (!allow_declaration(invite.id, declaration.agent_id, now)) {
    ++counters_.rate_limited;
    auto response = error_response(429, "rate_limited", "too many declarations with this invite; slow down");
    response.headers.add("Retry-After", "1");
    return response;
  }
  // Last, so that only a tenant can fill it, and no faster than its rate.
  if (auto admitted = replays_.admit(*signature, wall); !admitted) {
    if (admitted.error().code == ErrorCode::kLimit)
      return error_response(503, "busy", admitted.error().message);
    return refuse_declaration(401, "replayed", admitted.error().message, now);
  }

  auto verdicts = leases_.declare(invite, declaration.agent_id, declaration.services, now, claims_key);
  if (!verdicts) {
    bool limit = verdicts.error().code == ErrorCode::kLimit;
    return error_response(limit ? 429 : 409, limit ? "lease_limit" : "agent_conflict",
                          verdicts.error().message);
  }
  ++counters_.declarations;
  hubapi::LeaseAnswer answer{.tenant = invite.tenant,
                             .granted = {},
                             .edges = config_.edges,
                             .services = std::move(*verdicts),
                             .public_port = config_.public_port,
                             .internal_ca_pem = config_.internal_ca_pem,
                             .renew_after = Leases::kRenewAfter};
  for (const auto& pattern : invite.hostnames) answer.granted.push_back(pattern.text());
  auto response = respond(200, {});
  response.body = hubapi::encode(answer);
  return response;
}

http::Response Api::create_invite(const http::Request& request, TimePoint now) {
  auto wanted = parse_invite_request(request.body);
  if (!wanted) return error_response(400, "invalid_request", wanted.error().message);
  for (const std::string& text : config_.public_urls) {
    auto url = hubapi::parse_hub_url(text);
    auto own = url ? route::HostPattern::parse(url->host) : std::unexpected(url.error());
    if (own && std::ranges::find(wanted->hostnames, *own) != wanted->hostnames.end()) {
      return error_response(
          400, "invalid_request",
          fmt::format("hostname {} is the hub's own: it answers there itself; choose another", own->text()));
    }
  }
  InviteId id;
  // The text form begins with '-' when the first six bits are 62: command lines would take it for a flag.
  do {
    random_.fill(id);
  } while (id[0] >> 2 == 62);
  std::array<uint8_t, 32> secret;
  random_.fill(secret);
  SecretKey tenant_key = SecretKey::generate(random_);
  UnixTime wall = config_.wall_clock();
  Invite invite{.id = id,
                .name = wanted->name ? *wanted->name : hubapi::pet_name(random_),
                .tenant = tenant_key.public_key(),
                .secret_hash = hmac_sha256(store_.hash_key(), secret),
                .hostnames = std::move(wanted->hostnames),
                .created_at = wall,
                .expires_at = std::nullopt,
                .revoked = false};
  if (wanted->expires_in) invite.expires_at = wall + *wanted->expires_in;
  auto added = store_.add_invite(invite, wall);
  if (!added) {
    if (added.error().code == ErrorCode::kIo) return store_failure(added.error(), now);
    bool limit = added.error().code == ErrorCode::kLimit;
    return error_response(409, limit ? "invite_limit" : "hostname_conflict", added.error().message);
  }
  log_info("invite_created", "invite={} name={} hostnames={}", to_base64url(id), culvert::quoted(invite.name),
           invite.hostnames.size());
  hubapi::InviteToken token{config_.public_urls, config_.hub_key, id, secret, tenant_key};
  auto response = respond(200, {{"status", "ok"},
                                {"token", token.encode()},
                                {"invite_id", to_base64url(id)},
                                {"tenant_id", invite.tenant.to_string()},
                                {"name", invite.name},
                                {"hostnames", pattern_list(invite.hostnames)},
                                {"expires_at", optional_time(invite.expires_at)}});
  wipe(secret);
  return response;
}

http::Response Api::list_invites(const http::Request& request, TimePoint now) {
  constexpr std::string_view kAfter = "after=";
  std::optional<InviteId> after;
  if (size_t mark = request.target.find('?'); mark != std::string::npos) {
    std::string_view query = std::string_view(request.target).substr(mark + 1);
    if (query.starts_with(kAfter)) after = parse_invite_id(query.substr(kAfter.size()));
    if (!after) return error_response(400, "invalid_request", "the only query here is after=<invite id>");
  }
  auto invites = store_.list_invites(after, kPageInvites + 1);
  if (!invites) {
    if (invites.error().code == ErrorCode::kNotFound)
      return error_response(404, "not_found", invites.error().message);
    return store_failure(invites.error(), now);
  }
  UnixTime wall = config_.wall_clock();
  json::array entries;
  size_t size = 0;
  for (const Invite& invite : *invites) {
    if (size > kPageBytes || entries.size() == kPageInvites) break;
    size += 400 + 2 * invite.name.size();  // fixed members and punctuation
    for (const auto& pattern : invite.hostnames) size += pattern.text().size() + 3;
    entries.push_back(json::object{{"invite_id", to_base64url(invite.id)},
                                   {"name", invite.name},
                                   {"tenant_id", invite.tenant.to_string()},
                                   {"hostnames", pattern_list(invite.hostnames)},
                                   {"status", status_text(invite, wall)},
                                   {"created_at", invite.created_at.time_since_epoch().count()},
                                   {"expires_at", optional_time(invite.expires_at)}});
  }
  bool more = entries.size() < invites->size();
  json::object body{{"status", "ok"}};
  if (more) body["next"] = to_base64url((*invites)[entries.size() - 1].id);
  body["invites"] = std::move(entries);
  return respond(200, body);
}

void Api::end_invite(const InviteId& id) {
  leases_.end_invite(id);
  declare_limits_.erase(id);
}

http::Response Api::revoke_invite(std::string_view id_text, TimePoint now) {
  auto id = parse_invite_id(id_text);
  if (!id)
    return error_response(400, "invalid_request", "the invite id is not 16 bytes in unpadded base64url");
  auto revoked = store_.revoke_invite(*id);
  if (!revoked) {
    if (revoked.error().code == ErrorCode::kNotFound)
      return error_response(404, "not_found", revoked.error().message);
    if (!store_.unstored_revocations().contains(*id)) return store_failure(revoked.error(), now);
    end_invite(*id);
    log_error("invite_revocation_not_stored", "invite={} reason={}", to_base64url(*id),
              culvert::quoted(revoked.error().message));
    return error_response(
        507, "not_stored",
        "the invite is revoked and its agents are cut off, but the hub's database refused to store "
        "this: a restart of the node would bring the invite back. The node tries again by itself; "
        "make room on its disk, then repeat the command until it succeeds or finds the invite "
        "revoked already");
  }
  end_invite(*id);
  log_info("invite_revoked", "invite={}", to_base64url(*id));
  return respond(200, {{"status", "revoked"}});
}

}  // namespace culvert::hub
