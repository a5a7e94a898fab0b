#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "hub/record.h"
#include "route/hostname.h"
#include "route/route.h"

namespace culvert::hub {

// A hostname that a tenant gave itself: one that its invite grants, or one of its own that it proved to have.
// While it is in force it counts like a grant of exactly this hostname.
struct Entry {
  enum class Proof : uint8_t {
    kGrant,    // the invite grants it
    kTxt,      // a TXT record names the tenant
    kAddress,  // it leads to an edge
  };

  route::HostPattern hostname;
  std::optional<route::TlsMode> tls_mode;  // the only one that agents may declare; none: either
  Proof proof;
  UnixTime since;
  bool operator==(const Entry&) const = default;
};
const char* to_string(Entry::Proof proof);  // "grant", "txt", "address"

// The entries of all tenants, one record for each, and the number of each tenant's last change. Sans-I/O.
class Entries {
 public:
  static constexpr std::string_view kKind = "entry";
  static constexpr std::string_view kSequenceKind = "entry-sequence";
  // More than any tenant has use for; bounds what one key can make the hub keep.
  static constexpr size_t kMaxPerTenant = 1000;
  using Map = std::map<std::string, Entry, std::less<>>;  // by hostname

  // A record of either kind, as it is in the database from now on; whose it is. nullopt: it is damaged.
  std::optional<PublicKey> apply(const Record& record);

  const Map& of(const PublicKey& tenant) const;
  const Entry* find(const PublicKey& tenant, std::string_view hostname) const;
  // Of the tenant's last change; 0: there was none.
  uint64_t sequence(const PublicKey& tenant) const;
  // Tenants with entries, in the order of their keys.
  struct OfTenant {
    uint64_t sequence = 0;
    Map entries;
  };
  const std::map<PublicKey, OfTenant>& all() const { return tenants_; }

  static Record record_of(const PublicKey& tenant, const Entry& entry);
  static Record removal_of(const PublicKey& tenant, std::string_view hostname);
  static Record sequence_record(const PublicKey& tenant, uint64_t sequence);
  // What removes all that is kept of a tenant.
  std::vector<Record> removals(const PublicKey& tenant) const;

 private:
  void forget_empty(const PublicKey& tenant);

  std::map<PublicKey, OfTenant> tenants_;
};

}  // namespace culvert::hub
