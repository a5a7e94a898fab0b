#pragma once
#include <string>
#include <string_view>

#include "hub/record_database.h"

namespace culvert::hub {

// A hub's database as a file that either kind of database takes: lines of JSON, the last of which has a hash
// of all before it, so that one that was cut or changed is refused. It holds the key of the secrets' hashes:
// keep it private.
inline constexpr int kArchiveVersion = 1;

SecretString encode_archive(const RecordDatabase::Archive& archive);
// kInvalid says what is wrong.
Result<RecordDatabase::Archive> decode_archive(std::string_view text);

}  // namespace culvert::hub
