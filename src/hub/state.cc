#include "hub/state.h"

#include <iterator>

#include "hub/invite_record.h"

namespace culvert::hub {

void State::apply(const Record& record, TimePoint now) {
  if (record.kind == kInviteKind) {
    invites.apply(record);
  } else if (record.kind == OperatorKeys::kKind) {
    operator_keys.apply(record);
  } else if (record.kind == Edges::kKind) {
    edges.apply(record);
  } else if (record.kind == Leases::kKind) {
    const Invite* invite = nullptr;
    if (const auto id = Leases::invite_of(record)) invite = invites.find(*id).value_or(nullptr);
    leases.apply(record, invite != nullptr && !invite->revoked ? invite : nullptr, now);
  }
}

Batch State::unstored() const {
  Batch batch = invites.unstored();
  std::ranges::move(leases.unstored().records, std::back_inserter(batch.records));
  return batch;
}

}  // namespace culvert::hub
