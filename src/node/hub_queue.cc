#include "node/hub_queue.h"

#include <utility>
#include <vector>

#include "base/log.h"

namespace culvert::node {

bool HubQueue::push(edge::PublicConnection connection, TimePoint now) {
  std::vector<Waiting> expired;  // closed behind the lock
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  while (!waiting_.empty() && waiting_.front().since + limits_.patience < now) {
    expired.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    ++counters_.expired;
  }
  if (waiting_.size() >= limits_.connections) {
    ++counters_.refused_full;
    if (log_.allow(now)) {
      log_warn("hub_queue_full", "cap={} refused={} expired={}", limits_.connections, counters_.refused_full,
               counters_.expired);
    }
    return false;
  }
  waiting_.push_back({std::move(connection), now});
  // One call for all that come until it runs.
  if (waiting_.size() == 1) loop_.post([this] { deliver(); });
  return true;
}

void HubQueue::release() {
  is_held_ = false;
  deliver();
}

void HubQueue::deliver() {
  if (is_held_) return;
  std::deque<Waiting> arrived;
  TimePoint now = loop_.now();
  {
    std::lock_guard lock(mutex_);
    arrived.swap(waiting_);
    while (!arrived.empty() && arrived.front().since + limits_.patience < now) {
      arrived.pop_front();
      ++counters_.expired;
    }
  }
  for (Waiting& each : arrived) admit_(std::move(each.connection));
}

void HubQueue::close() {
  std::deque<Waiting> dropped;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(waiting_);
}

void report(const HubQueue::Counters& counters, Metrics& metrics) {
  metrics.counter("culvert_hub_refused_connections_total",
                  "Connections to the hub that were refused or lost their place, by reason.",
                  counters.expired, {{"reason", "queue_timeout"}});
}

HubQueue::Counters HubQueue::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace culvert::node
