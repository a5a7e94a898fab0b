#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace culvert::hub {

// One thing that the hub keeps, as its databases see it: they know nothing of what is in the body. A hub
// writes members that an older one does not know, and reads records that lack those that came later.
struct Record {
  std::string kind;                      // invite; see docs/design/005
  std::string key;                       // one of each kind
  std::optional<std::string> body = {};  // a JSON object; nullopt: the record is removed
  bool operator==(const Record&) const = default;
};

// Who changed what. Written by the commit that changes it.
struct AuditEntry {
  uint64_t sequence = 0;  // set by the database, in the order of the changes
  UnixTime at = {};
  std::string actor = {};
  std::string action = {};   // invite.create
  std::string subject = {};  // what the action is about
  std::string before = {};   // JSON, empty for what was not there
  std::string after = {};
};

// What one commit writes: all of it or nothing.
struct Batch {
  std::vector<Record> records = {};
  std::vector<AuditEntry> audit = {};

  bool empty() const { return records.empty() && audit.empty(); }
};

// What a commit became. Revisions count the commits of a database.
struct CommitOutcome {
  // The database was not at the revision that the commit was judged at, and nothing was written.
  bool has_moved = false;
  uint64_t revision = 0;           // of the database now
  std::vector<Record> newer = {};  // if it has moved: what others wrote, in that order
  // It has moved so far that `newer` is all there is: what is not among it is removed.
  bool is_complete = false;
};

}  // namespace culvert::hub
