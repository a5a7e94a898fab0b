#pragma once
#include <map>
#include <mutex>
#include <optional>
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
  // nullopt: there is none.
  std::optional<std::string> find(const route::PublicPort& port) const {
    std::lock_guard lock(mutex_);
    const auto found = faults_.find(port);
    return found == faults_.end() ? std::nullopt : std::optional(found->second);
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
