#include <cstdlib>

#include "hub/claims.h"
#include "hub/entries.h"
#include "hubapi/entry.h"

using namespace culvert;

namespace {

// What a database may hold when a disk or an operator damaged it. One line of the input for each record:
// kind, key and body, with blanks between.
void apply_records(std::string_view text) {
  hub::Entries entries;
  hub::Claims claims;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t first = line.find(' ');
    if (first == line.npos) continue;
    const size_t second = line.find(' ', first + 1);
    hub::Record record{.kind = std::string(line.substr(0, first)),
                       .key = std::string(line.substr(first + 1, second - first - 1))};
    if (second != line.npos) record.body = std::string(line.substr(second + 1));
    if (record.kind == hub::Claims::kKind) {
      claims.apply(record);
    } else {
      entries.apply(record);
    }
  }
  for (const auto& [tenant, of_tenant] : entries.all()) {
    // What is there must be stored as it was read.
    for (const auto& [hostname, entry] : of_tenant.entries) {
      hub::Entries again;
      again.apply(hub::Entries::record_of(tenant, entry));
      const hub::Entry* read = again.find(tenant, hostname);
      if (read == nullptr || *read != entry) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(ByteView(data, size));
  if (auto change = hubapi::decode_entry_change(text)) {
    auto again = hubapi::decode_entry_change(hubapi::encode(*change));
    if (!again || *again != *change) std::abort();
  }
  apply_records(text);
  return 0;
}
