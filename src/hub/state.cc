#include "hub/state.h"

#include "hub/invite_record.h"

namespace culvert::hub {

void State::apply(const Record& record) {
  if (record.kind == kInviteKind) invites.apply(record);
  if (record.kind == OperatorKeys::kKind) operator_keys.apply(record);
}

}  // namespace culvert::hub
