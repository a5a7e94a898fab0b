#include "hub/invite_json.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"
#include "hub/answers.h"
#include "hubapi/declaration.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

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
  if (invite.expired(now)) return "expired";
  return invite.suspended ? "suspended" : "live";
}

json::string_view json_text(std::string_view text) { return {text.data(), text.size()}; }

json::object listed(const Invite& invite, UnixTime now) {
  json::array ports;
  for (const PortRange& range : invite.ports) ports.push_back(json::string(range.text()));
  json::object entry{{"invite_id", to_base64url(invite.id)},
                     {"name", invite.name},
                     {"tenant_id", invite.tenant.to_string()},
                     {"hostnames", pattern_list(invite.hostnames)},
                     {"status", status_text(invite, now)},
                     {"created_at", invite.created_at.time_since_epoch().count()},
                     {"expires_at", optional_time(invite.expires_at)},
                     {"ports", std::move(ports)},
                     {"allow_custom_domains", invite.allow_custom_domains}};
  for (const QuotaMember& member : kQuotaMembers) {
    const auto& quota = invite.quotas.*member.quota;
    entry[json_text(member.name)] = quota ? json::value(*quota) : json::value(nullptr);
  }
  return entry;
}

// Fails for members that a request to create or change an invite does not have.
Result<> refuse_unknown(const json::object& body, std::vector<std::string_view> known) {
  known.insert(known.end(),
               {"name", "hostnames", "expires_in_secs", "ports", "allow_custom_domains", "allow_overlap"});
  for (const QuotaMember& member : kQuotaMembers) known.push_back(member.name);
  return refuse_unknown_members("the body", body, known);
}

// Names end up in terminals and logs.
bool is_good_name(std::string_view name) {
  return !name.empty() && name.size() <= InviteRequest::kMaxNameLength && name.front() != ' ' &&
         name.back() != ' ' && is_printable(name);
}

using Patterns = std::vector<route::HostPattern>;

// The members of a request, with the first error. A member that is null counts as absent, but for lifetime().
class BodyReader {
 public:
  explicit BodyReader(const json::object& body) : body_(body) {}

  std::optional<std::string> name() {
    const json::value* member = find("name");
    if (member == nullptr) return std::nullopt;
    if (member->is_string() && is_good_name(member->get_string())) return std::string(member->get_string());
    set_error(fmt::format("\"name\" is not 1 to {} characters without control characters",
                          InviteRequest::kMaxNameLength));
    return std::nullopt;
  }

  std::optional<Patterns> patterns(std::string_view key) {
    const json::value* member = find(key);
    if (member == nullptr) return std::nullopt;
    Patterns patterns;
    if (!member->is_array()) {
      set_error(fmt::format("\"{}\" is not an array", key));
    } else if (member->get_array().size() > InviteRequest::kMaxHostnames) {
      set_error(fmt::format("at most {} hostnames fit an invite", InviteRequest::kMaxHostnames));
    } else {
      for (const json::value& entry : member->get_array()) add_pattern(patterns, key, entry);
    }
    return patterns;
  }

  // The inner nullopt: it never ends.
  std::optional<std::optional<std::chrono::seconds>> lifetime() {
    const json::value* member = body_.if_contains("expires_in_secs");
    if (member == nullptr) return std::nullopt;
    if (member->is_null()) return std::optional<std::chrono::seconds>();
    if (member->is_int64() && member->get_int64() == 0) return std::optional<std::chrono::seconds>();
    const bool is_in_range = member->is_int64() && member->get_int64() >= 1 &&
                             member->get_int64() <= hubapi::kMaxInviteExpiry.count();
    if (is_in_range) return std::chrono::seconds(member->get_int64());
    set_error(
        fmt::format("\"expires_in_secs\" is not an integer from 0 to {}; 0 and null are for an invite that "
                    "never expires",
                    hubapi::kMaxInviteExpiry.count()));
    return std::nullopt;
  }

  std::optional<bool> boolean(std::string_view key) {
    const json::value* member = find(key);
    if (member == nullptr) return std::nullopt;
    if (member->is_bool()) return member->get_bool();
    set_error(fmt::format("\"{}\" is neither true nor false", key));
    return std::nullopt;
  }

  // The inner nullopt: null.
  std::optional<std::optional<uint32_t>> quota(const QuotaMember& wanted) {
    const json::value* member = body_.if_contains(json_text(wanted.name));
    if (member == nullptr) return std::nullopt;
    if (member->is_null()) return std::optional<uint32_t>();
    const bool is_in_range =
        member->is_int64() && member->get_int64() >= wanted.least && member->get_int64() <= wanted.most;
    if (is_in_range) return static_cast<uint32_t>(member->get_int64());
    set_error(fmt::format("\"{}\" is not an integer from {} to {}; null is for the hub's default",
                          wanted.name, wanted.least, wanted.most));
    return std::nullopt;
  }

  std::optional<std::vector<PortRange>> port_ranges() {
    const json::value* member = find("ports");
    if (member == nullptr) return std::nullopt;
    std::vector<PortRange> ranges;
    if (!member->is_array()) {
      set_error("\"ports\" is not an array");
    } else if (member->get_array().size() > InviteRequest::kMaxPortRanges) {
      set_error(fmt::format("at most {} ranges of ports fit an invite", InviteRequest::kMaxPortRanges));
    } else {
      for (const json::value& entry : member->get_array()) {
        auto range = entry.is_string()
                         ? PortRange::parse(std::string_view(entry.get_string()))
                         : fail(ErrorCode::kInvalid, "\"ports\" holds something that is not a string");
        if (!range) {
          set_error(range.error().message);
        } else {
          ranges.push_back(*range);
        }
      }
    }
    return ranges;
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  const json::value* find(std::string_view key) const {
    const json::value* member = body_.if_contains(json::string_view(key.data(), key.size()));
    return member == nullptr || member->is_null() ? nullptr : member;
  }
  void add_pattern(Patterns& patterns, std::string_view key, const json::value& entry) {
    if (!entry.is_string()) return set_error(fmt::format("\"{}\" holds something that is not a string", key));
    auto pattern = route::HostPattern::parse(std::string_view(entry.get_string()));
    if (!pattern) return set_error(pattern.error().message);
    if (std::ranges::find(patterns, *pattern) != patterns.end())
      return set_error(fmt::format("hostname {} is there twice", pattern->text()));
    patterns.push_back(std::move(*pattern));
  }
  void set_error(std::string message) {
    if (!error_) error_ = Error{ErrorCode::kInvalid, std::move(message)};
  }

  const json::object& body_;
  std::optional<Error> error_;
};

}  // namespace

Result<InviteRequest> parse_invite_request(std::string_view body) {
  auto object = parse_json_object("the body", body);
  if (!object) return std::unexpected(object.error());
  if (auto known = refuse_unknown(*object, {}); !known) return std::unexpected(known.error());
  BodyReader reader(*object);
  InviteRequest request{.name = reader.name(),
                        .hostnames = reader.patterns("hostnames").value_or(Patterns()),
                        .expires_in = reader.lifetime().value_or(std::nullopt),
                        .ports = reader.port_ranges().value_or(std::vector<PortRange>()),
                        .allow_custom_domains = reader.boolean("allow_custom_domains").value_or(false),
                        .allow_overlap = reader.boolean("allow_overlap").value_or(false)};
  for (const QuotaMember& member : kQuotaMembers)
    request.quotas.*member.quota = reader.quota(member).value_or(std::nullopt);
  if (reader.error()) return std::unexpected(*reader.error());
  if (request.hostnames.empty()) return fail(ErrorCode::kInvalid, "\"hostnames\" is missing or empty");
  return request;
}

Result<InviteChange> parse_invite_change(std::string_view body) {
  auto object = parse_json_object("the body", body);
  if (!object) return std::unexpected(object.error());
  if (auto known = refuse_unknown(*object, {"add_hostnames", "remove_hostnames", "suspended"}); !known)
    return std::unexpected(known.error());
  BodyReader reader(*object);
  InviteChange change{.name = reader.name(),
                      .hostnames = reader.patterns("hostnames"),
                      .added = reader.patterns("add_hostnames").value_or(Patterns()),
                      .removed = reader.patterns("remove_hostnames").value_or(Patterns()),
                      .expires_in = reader.lifetime(),
                      .suspended = reader.boolean("suspended"),
                      .quotas = {},
                      .ports = reader.port_ranges(),
                      .allow_custom_domains = reader.boolean("allow_custom_domains"),
                      .allow_overlap = reader.boolean("allow_overlap").value_or(false)};
  for (const QuotaMember& member : kQuotaMembers) {
    if (const auto quota = reader.quota(member)) change.quotas.emplace_back(member.quota, *quota);
  }
  if (reader.error()) return std::unexpected(*reader.error());
  if (object->empty()) return fail(ErrorCode::kInvalid, "the body has no member; name what is to be changed");
  if (change.hostnames && !(change.added.empty() && change.removed.empty())) {
    return fail(ErrorCode::kInvalid,
                "\"hostnames\" replaces all of them; leave out \"add_hostnames\" and \"remove_hostnames\"");
  }
  return change;
}

Result<Invite> InviteChange::applied_to(Invite invite, UnixTime now) const {
  if (name) invite.name = *name;
  if (hostnames) invite.hostnames = *hostnames;
  for (const auto& pattern : removed) {
    if (std::erase(invite.hostnames, pattern) == 0)
      return fail(ErrorCode::kInvalid, "the invite does not have the hostname {}", pattern.text());
  }
  for (const auto& pattern : added) {
    if (std::ranges::find(invite.hostnames, pattern) == invite.hostnames.end())
      invite.hostnames.push_back(pattern);
  }
  if (invite.hostnames.empty()) {
    return fail(ErrorCode::kInvalid, "an invite without a hostname is of no use; revoke it, or suspend it");
  }
  if (invite.hostnames.size() > InviteRequest::kMaxHostnames)
    return fail(ErrorCode::kInvalid, "at most {} hostnames fit an invite", InviteRequest::kMaxHostnames);
  if (expires_in) invite.expires_at = *expires_in ? std::optional(now + **expires_in) : std::nullopt;
  if (suspended) invite.suspended = *suspended;
  for (const auto& [member, quota] : quotas) invite.quotas.*member = quota;
  if (ports) invite.ports = *ports;
  if (allow_custom_domains) invite.allow_custom_domains = *allow_custom_domains;
  return invite;
}

std::string created_invite_json(const Invite& invite, const SecretString& token) {
  const std::string rest = json::serialize(json::object{{"invite_id", to_base64url(invite.id)},
                                                        {"tenant_id", invite.tenant.to_string()},
                                                        {"name", invite.name},
                                                        {"hostnames", pattern_list(invite.hostnames)},
                                                        {"expires_at", optional_time(invite.expires_at)}});
  return with_secret("token", token, rest);
}

std::string invite_json(const Invite& invite, UnixTime now) { return json::serialize(listed(invite, now)); }

}  // namespace culvert::hub
