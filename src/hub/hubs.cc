#include "hub/hubs.h"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/json.h"

namespace culvert::hub {

std::string Hubs::key_in(std::string_view body) {
  const auto object = parse_json_object("a hub's record", body);
  const auto* key = object ? object->if_contains("key") : nullptr;
  return key != nullptr && key->is_string() ? std::string(key->as_string()) : "";
}

std::optional<std::string> Hubs::other_key() const {
  const auto other = std::ranges::find_if(others_, [this](const auto& each) {
    return each.second.has_beaten && !each.second.key.empty() && each.second.key != key_;
  });
  return other == others_.end() ? std::nullopt : std::optional(other->second.key);
}

void Hubs::apply(const Record& record) {
  if (record.key != self_) {
    if (record.body) {
      Other& other = others_[record.key];
      other = {.key = key_in(*record.body), .has_beaten = beats_ > 0};
    } else {
      others_.erase(record.key);
    }
  } else if (record.body) {
    ++beats_;
    is_due_ = false;
    for (auto& [id, other] : others_) ++other.silence;
  }
}

std::vector<Record> Hubs::unstored() const {
  if (!is_due_) return {};
  boost::json::object body{{"beats", beats_ + 1}};
  if (!key_.empty()) body["key"] = key_;
  std::vector<Record> records{
      {.kind = std::string(kKind), .key = self_, .body = boost::json::serialize(body)}};
  for (const auto& [id, other] : others_) {
    if (other.silence >= kMaxSilence)
      records.push_back({.kind = std::string(kKind), .key = id, .body = std::nullopt});
  }
  return records;
}

std::vector<Record> Hubs::farewell() {
  if (!is_shared()) return {};
  is_due_ = false;
  return {{.kind = std::string(kKind), .key = self_, .body = std::nullopt}};
}

}  // namespace culvert::hub
