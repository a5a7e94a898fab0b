#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/key.h"
#include "base/result.h"
#include "route/hostname.h"
#include "route/route.h"

// POST /v1/entries: how a tenant changes its own hostnames. GET /v1/entries lists them.
namespace culvert::hubapi {

constexpr const char* kEntryTag = "culvert-entry";  // RFC 9421 tag of a change, signed by the tenant's key
constexpr const char* kEntriesTag = "culvert-entries";  // of a look at the list

struct EntryChange {
  enum class Op : uint8_t {
    kPut,     // adds the hostname, or changes how it may be served
    kDelete,  // of a hostname
    kLeave,   // removes the tenant with all that it has
  };

  // The highest sequence of each op. A change with one that is far too high locks no tenant out: what it has
  // put can still be deleted, and it can always leave.
  static constexpr uint64_t kMaxPut = uint64_t{1} << 62;
  static constexpr uint64_t kMaxDelete = INT64_MAX - 1;
  static constexpr uint64_t kMaxLeave = INT64_MAX;

  // Higher than that of the tenant's change before: so a change cannot be shown twice, nor out of turn.
  uint64_t sequence;
  Op op;
  std::optional<route::HostPattern> hostname = {};  // not of kLeave
  std::optional<route::TlsMode> tls_mode = {};      // of kPut: the only one that agents may declare
  bool operator==(const EntryChange&) const = default;
};

std::string encode(const EntryChange& change);
// kInvalid names the member that is missing, unknown, malformed or there twice. kConflict: an op that this
// version does not know.
Result<EntryChange> decode_entry_change(std::string_view json);

// How the holder of a domain says that a tenant may have a hostname: a TXT record with this name and value.
std::string challenge_name(const route::HostPattern& hostname);  // "_culvert-challenge.shop.example"
std::string challenge_value(const PublicKey& tenant);            // "culvert-tenant=" and 64 hex digits

}  // namespace culvert::hubapi
