#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/result.h"
#include "hub/record.h"

namespace culvert::hub {

enum class OperatorRole : uint8_t { kAdmin, kReadOnly };
const char* to_string(OperatorRole role);  // "admin", "read-only"
std::optional<OperatorRole> parse_operator_role(std::string_view text);

// A bearer key of the operator's API. The key itself is shown once and not kept.
struct OperatorKey {
  std::string name;  // unique
  OperatorRole role;
  Sha256 hash;  // HMAC of the key under the database's hash key
  UnixTime created_at;
};

// The operator keys besides that of the node's own file. Sans-I/O.
class OperatorKeys {
 public:
  static constexpr std::string_view kKind = "operator-key";
  static constexpr size_t kMax = 100;
  static constexpr size_t kMaxNameLength = 64;

  // A record of kKind, as it is in the database from now on. One that is damaged is no key.
  void apply(const Record& record);
  // nullptr: there is no such key.
  const OperatorKey* find(std::string_view name) const;
  const OperatorKey* find_by_hash(const Sha256& hash) const;
  const std::map<std::string, OperatorKey, std::less<>>& all() const { return keys_; }

  // What adds the key. Errors: kConflict, the name is in use; kLimit, there are kMax.
  Result<Record> add(const OperatorKey& key) const;
  // kNotFound: there is none of that name.
  Result<Record> remove(std::string_view name) const;

 private:
  std::map<std::string, OperatorKey, std::less<>> keys_;  // by name
  std::map<Sha256, std::string> names_;
};

// Its members but the hash, as JSON.
std::string operator_key_json(const OperatorKey& key);

}  // namespace culvert::hub
