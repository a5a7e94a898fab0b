#include "hub/hub_identity.h"

#include <map>
#include <string>
#include <thread>

#include "base/log.h"

namespace culvert::hub {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(200);

// The records of hubs with another key, by their keys in the database.
using Others = std::map<std::string, std::string>;

Others others_in(const std::vector<Record>& records, const std::string& key) {
  Others others;
  for (const Record& record : records) {
    if (record.kind != Hubs::kKind || !record.body) continue;
    const std::string its_key = Hubs::key_in(*record.body);
    if (!its_key.empty() && its_key != key) others.emplace(record.key, *record.body);
  }
  return others;
}

std::unexpected<Error> refuse(const std::string& key, const std::string& others) {
  return fail(
      ErrorCode::kInvalid,
      "a hub that runs on this database has the key {}, and this hub has the key {}: agents and edges "
      "take all hubs of a database for one hub, and would refuse one of these; copy node.key, "
      "operator.key, ca.key and ca.pem from the other hub's data directory into this one's, or stop "
      "the other hub",
      others, key);
}

}  // namespace

Result<RecordDatabase::Content> load_as(RecordDatabase& database, const PublicKey& key, Duration patience) {
  const std::string own = key.to_string();
  auto content = database.load();
  if (!content) return content;
  const Others before = others_in(content->records, own);
  if (before.empty()) return content;
  log_warn(
      "hub_key_differs", "own={} other={} meaning={}", own, Hubs::key_in(before.begin()->second),
      culvert::quoted("another hub of this database has another key; this hub waits to see whether it runs"));
  uint64_t revision = content->revision;
  for (Duration waited{}; waited < patience; waited += kPoll) {
    std::this_thread::sleep_for(kPoll);
    auto newer = database.newer(revision);
    if (!newer) return std::unexpected(newer.error());
    revision = newer->revision;
    for (const auto& [id, body] : others_in(newer->newer, own)) {
      const auto known = before.find(id);
      const bool is_beat = known == before.end() || known->second != body;
      if (is_beat) return refuse(own, Hubs::key_in(body));
    }
  }
  return database.load();
}

}  // namespace culvert::hub
