#pragma once
#include <map>
#include <mutex>
#include <string>

#include "route/match.h"

namespace culvert::edge {

// The ports of routes that the edge cannot listen on, and why. Thread-safe.
class PortFaults {
 public:
  using Map = std::map<route::PublicPort, std::string>;

  void set(const route::PublicPort& port, std::string reason) {
    std::lock_guard lock(mutex_);
    faults_.insert_or_assign(port, std::move(reason));
  }
  void clear(const route::PublicPort& port) {
    std::lock_guard lock(mutex_);
    faults_.erase(port);
  }
  // Those of one port, or of the ports of a range.
  Map of(const route::PublicPort& ports) const {
    std::lock_guard lock(mutex_);
    return Map(faults_.lower_bound(ports.at(0)), faults_.upper_bound(ports.at(ports.more)));
  }
  Map all() const {
    std::lock_guard lock(mutex_);
    return faults_;
  }

 private:
  mutable std::mutex mutex_;
  Map faults_;
};

}  // namespace culvert::edge
