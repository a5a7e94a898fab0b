#pragma once
#include <memory>
#include <mutex>

#include "edge/options.h"

namespace culvert::edge {

// The options of an edge that runs. Thread-safe; a reader keeps what it read while it needs it.
class LiveOptions {
 public:
  explicit LiveOptions(const Options& options) : now_(std::make_shared<const Options>(options)) {}
  LiveOptions(const LiveOptions&) = delete;

  std::shared_ptr<const Options> get() const {
    std::lock_guard lock(mutex_);
    return now_;
  }
  // Takes from `wanted` what describe() declares as changeable, and keeps the rest.
  void change(const Options& wanted) {
    std::lock_guard lock(mutex_);
    Options next = *now_;
    next.hello_timeout = wanted.hello_timeout;
    next.drain_timeout = wanted.drain_timeout;
    next.upgrade_timeout = wanted.upgrade_timeout;
    next.max_connections = wanted.max_connections;
    next.max_connections_per_tenant = wanted.max_connections_per_tenant;
    next.max_connections_per_source = wanted.max_connections_per_source;
    next.max_new_connections = wanted.max_new_connections;
    next.max_new_connections_per_tenant = wanted.max_new_connections_per_tenant;
    next.max_new_connections_per_source = wanted.max_new_connections_per_source;
    next.max_memory = wanted.max_memory;
    next.max_unserved = wanted.max_unserved;
    next.max_unserved_per_source = wanted.max_unserved_per_source;
    next.trusted_proxies = wanted.trusted_proxies;
    next.access_log = wanted.access_log;
    next.udp_idle_timeout = wanted.udp_idle_timeout;
    next.max_udp_flows = wanted.max_udp_flows;
    next.max_udp_flows_per_tenant = wanted.max_udp_flows_per_tenant;
    next.max_udp_flows_per_port = wanted.max_udp_flows_per_port;
    next.max_new_udp_flows = wanted.max_new_udp_flows;
    now_ = std::make_shared<const Options>(std::move(next));
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Options> now_;
};

}  // namespace culvert::edge
