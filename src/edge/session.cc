#include "edge/session.h"

#include <utility>

#include "base/log.h"
#include "tunnel/protocol.h"

namespace culvert::edge {

void Session::drain() {
  if (std::exchange(is_draining_, true)) return;
  registry_.set_draining(agent_, generation_);
  log_info("agent_draining", "agent={} connections={}", agent_.short_text(), uses_);
  tell_if_drained();
}

void Session::end_use() {
  --uses_;
  tell_if_drained();
}

// Once: no connection comes after the last has ended. An agent that does not take the message waits its own
// time.
void Session::tell_if_drained() {
  if (!is_draining_ || uses_ > 0 || !is_open()) return;
  if (!std::exchange(is_drained_, true)) (void)control_.send(tunnel::Drained{});
}

}  // namespace culvert::edge
