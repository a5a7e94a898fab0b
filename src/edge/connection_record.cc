#include "edge/connection_record.h"

#include "edge/access_log.h"

namespace culvert::edge {

void ConnectionRecord::finish() {
  if (AccessLog* log = std::exchange(log_, nullptr)) log->ended(*this, reason_);
}

}  // namespace culvert::edge
