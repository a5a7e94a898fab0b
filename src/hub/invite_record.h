#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "hub/invite.h"
#include "hub/record.h"

// An invite as a record. The text forms of ids are those of the API.
namespace culvert::hub {

inline constexpr std::string_view kInviteKind = "invite";

std::string invite_key(const InviteId& id);
std::optional<InviteId> parse_invite_id(std::string_view text);

// What is left of an invite that was removed: neither its id nor its tenant's key is used again.
inline constexpr std::string_view kTombstoneKind = "tombstone";

Record invite_record(const Invite& invite);
Record tombstone_record(const InviteId& id, const std::optional<PublicKey>& tenant, UnixTime removed_at);
// The tenant that a tombstone names; nullopt: it names none.
std::optional<PublicKey> tombstone_tenant(std::string_view body);
// kInvalid says which member of the body is wrong. Members that are not known are ignored.
Result<Invite> read_invite_record(const InviteId& id, std::string_view body);

}  // namespace culvert::hub
