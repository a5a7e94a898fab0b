#include "hub/invite_json.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"
#include "http/message.h"
#include "hubapi/declaration.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// A page of the listing ends near this size: half of what clients accept (http::kMaxResponseBytes).
constexpr size_t kPageBytes = http::kMaxResponseBytes / 2;

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

json::object listed(const Invite& invite, UnixTime now) {
  return {{"invite_id", to_base64url(invite.id)},
          {"name", invite.name},
          {"tenant_id", invite.tenant.to_string()},
          {"hostnames", pattern_list(invite.hostnames)},
          {"status", status_text(invite, now)},
          {"created_at", invite.created_at.time_since_epoch().count()},
          {"expires_at", optional_time(invite.expires_at)}};
}

// Names end up in terminals and logs.
bool is_good_name(std::string_view name) {
  return !name.empty() && name.size() <= InviteRequest::kMaxNameLength && name.front() != ' ' &&
         name.back() != ' ' && is_printable(name);
}

}  // namespace

Result<InviteRequest> parse_invite_request(std::string_view body) {
  auto invalid = [](std::string message) { return fail(ErrorCode::kInvalid, "{}", message); };
  auto object = parse_json_object("the body", body);
  if (!object) return std::unexpected(object.error());
  InviteRequest request;
  for (const auto& [key, member] : *object) {
    if (key == "name") {
      if (member.is_null()) continue;
      if (!member.is_string() || !is_good_name(member.get_string())) {
        return invalid(fmt::format("\"name\" is not 1 to {} characters without control characters",
                                   InviteRequest::kMaxNameLength));
      }
      request.name = std::string(member.get_string());
    } else if (key == "hostnames") {
      if (!member.is_array()) return invalid("\"hostnames\" is not an array");
      if (member.get_array().size() > InviteRequest::kMaxHostnames) {
        return invalid(fmt::format("at most {} hostnames fit an invite", InviteRequest::kMaxHostnames));
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

std::string created_invite_json(const Invite& invite, const SecretString& token) {
  const std::string rest = json::serialize(json::object{{"invite_id", to_base64url(invite.id)},
                                                        {"tenant_id", invite.tenant.to_string()},
                                                        {"name", invite.name},
                                                        {"hostnames", pattern_list(invite.hostnames)},
                                                        {"expires_at", optional_time(invite.expires_at)}});
  // The token needs no escapes, and is kept out of a json::object, which is not wiped.
  constexpr std::string_view kStart = R"({"status":"ok","token":")";
  std::string out;
  out.reserve(kStart.size() + token.expose().size() + rest.size() + 2);
  out.append(kStart).append(token.expose()).append("\",").append(rest, 1);
  return out;
}

std::string invite_page_json(std::span<const Invite> invites, UnixTime now) {
  json::array entries;
  size_t size = 0;
  for (const Invite& invite : invites) {
    if (size > kPageBytes || entries.size() == kMaxPageInvites) break;
    size += 400 + 2 * invite.name.size();  // fixed members and punctuation
    for (const auto& pattern : invite.hostnames) size += pattern.text().size() + 3;
    entries.push_back(listed(invite, now));
  }
  bool more = entries.size() < invites.size();
  json::object body{{"status", "ok"}};
  if (more) body["next"] = to_base64url(invites[entries.size() - 1].id);
  body["invites"] = std::move(entries);
  return json::serialize(body);
}

std::string invite_json(const Invite& invite, UnixTime now) { return json::serialize(listed(invite, now)); }

}  // namespace culvert::hub
