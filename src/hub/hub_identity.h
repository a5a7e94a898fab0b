#pragma once
#include "base/key.h"
#include "hub/hubs.h"
#include "hub/record_database.h"

namespace culvert::hub {

// A live hub stores a beat in this time.
inline constexpr Duration kSignOfLife = Hubs::kBeat + std::chrono::seconds(5);

// Reads the database for a hub with this key. All hubs of one database are one hub to agents and edges, which
// know it by its key: kInvalid, another hub lives in it with another key, and the message says what to do.
// Whether a hub that has left a record lives is known by its next beat: blocks for `patience` then, and not
// otherwise. Other errors: those of load() and newer().
Result<RecordDatabase::Content> load_as(RecordDatabase& database, const PublicKey& key,
                                        Duration patience = kSignOfLife);

}  // namespace culvert::hub
