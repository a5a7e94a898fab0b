#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "hub/invite.h"

// The JSON of the operator's API. Requests are parsed here and nowhere else.
namespace culvert::hub {

struct InviteRequest {
  static constexpr size_t kMaxHostnames = 100;
  static constexpr size_t kMaxPortRanges = 100;
  static constexpr size_t kMaxNameLength = 64;

  std::optional<std::string> name;
  std::vector<route::HostPattern> hostnames;  // at least one, none twice
  std::optional<std::chrono::seconds> expires_in;
  Quotas quotas = {};
  std::vector<PortRange> ports = {};
  bool allow_custom_domains = false;
  bool allow_overlap = false;  // with hostnames of other invites
};
// The body of a request to create an invite. kInvalid names the member that is wrong.
Result<InviteRequest> parse_invite_request(std::string_view body);

struct InviteChange {
  std::optional<std::string> name;
  std::optional<std::vector<route::HostPattern>> hostnames;  // instead of those that are there
  std::vector<route::HostPattern> added;
  std::vector<route::HostPattern> removed;
  std::optional<std::optional<std::chrono::seconds>> expires_in;  // the inner nullopt: never
  std::optional<bool> suspended;
  // The inner nullopt: as the hub's default.
  std::vector<std::pair<std::optional<uint32_t> Quotas::*, std::optional<uint32_t>>> quotas;
  std::optional<std::vector<PortRange>> ports;  // instead of those that are there
  std::optional<bool> allow_custom_domains;
  bool allow_overlap = false;  // of hostnames that it gets, with those of other invites

  // kInvalid: it has none of a hostname that is to be removed, or the number of the rest is wrong.
  Result<Invite> applied_to(Invite invite, UnixTime now) const;
};
// The body of a request to change an invite. kInvalid names the member that is wrong.
Result<InviteChange> parse_invite_change(std::string_view body);

// The answer to a request to create one.
std::string created_invite_json(const Invite& invite, const SecretString& token);

// As the listing shows it.
std::string invite_json(const Invite& invite, UnixTime now);

}  // namespace culvert::hub
