#include "hub/hubs.h"

#include <fmt/format.h>

namespace culvert::hub {

void Hubs::apply(const Record& record) {
  if (record.key != self_) {
    if (record.body) {
      silence_[record.key] = 0;
    } else {
      silence_.erase(record.key);
    }
  } else if (record.body) {
    ++beats_;
    is_due_ = false;
    for (auto& [id, silence] : silence_) ++silence;
  }
}

std::vector<Record> Hubs::unstored() const {
  if (!is_due_) return {};
  std::vector<Record> records{
      {.kind = std::string(kKind), .key = self_, .body = fmt::format(R"({{"beats":{}}})", beats_ + 1)}};
  for (const auto& [id, silence] : silence_) {
    if (silence >= kMaxSilence)
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
