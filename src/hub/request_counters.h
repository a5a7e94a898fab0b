#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/metrics.h"
#include "http/exchange.h"

namespace culvert::hub {

// What became of the requests to the hub, by the pattern of their path, their method and the status of their
// answer. Patterns and methods are the router's and statuses are ours: no client can make a new one. Requests
// that no route takes are "unmatched", whatever their method.
class RequestCounters {
 public:
  // Once its answer was sent, at `now`.
  void count(const http::Exchange& exchange, TimePoint now);
  void report(Metrics& metrics) const;

 private:
  struct Key {
    std::string endpoint;
    std::string method;
    int status;
    auto operator<=>(const Key&) const = default;
  };
  std::map<Key, uint64_t> answers_;
  // By endpoint and method, whatever the status: each is many series.
  std::map<std::pair<std::string, std::string>, DurationHistogram> times_;
};

}  // namespace culvert::hub
