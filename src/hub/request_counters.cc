#include "hub/request_counters.h"

#include <fmt/format.h>

namespace culvert::hub {
namespace {

constexpr const char* kUnmatched = "unmatched";
constexpr const char* kAnyMethod = "any";

}  // namespace

void RequestCounters::count(const http::Exchange& exchange, TimePoint now) {
  const bool is_matched = !exchange.pattern.empty();
  Sum& sum = sums_[{is_matched ? std::string(exchange.pattern) : kUnmatched,
                    is_matched ? exchange.request.method : kAnyMethod, exchange.answer_status}];
  ++sum.requests;
  sum.duration += now - exchange.now;
}

void RequestCounters::report(Metrics& metrics) const {
  constexpr const char* kName = "culvert_hub_requests_total";
  constexpr const char* kHelp =
      "Requests to the hub that were answered, by the pattern of their path, method and status.";
  constexpr const char* kTimeName = "culvert_hub_request_milliseconds_total";
  constexpr const char* kTimeHelp =
      "How long answers took from the end of their request, all together, by pattern and method.";
  // There from the start, so that a rate has a beginning.
  metrics.counter(kName, kHelp, 0, {{"endpoint", kUnmatched}, {"method", kAnyMethod}, {"status", "404"}});
  metrics.counter(kTimeName, kTimeHelp, 0, {{"endpoint", kUnmatched}, {"method", kAnyMethod}});
  std::map<std::pair<std::string, std::string>, Duration> times;
  for (const auto& [key, sum] : sums_) {
    metrics.counter(
        kName, kHelp, sum.requests,
        {{"endpoint", key.endpoint}, {"method", key.method}, {"status", std::to_string(key.status)}});
    times[{key.endpoint, key.method}] += sum.duration;
  }
  for (const auto& [key, time] : times) {
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
    metrics.counter(kTimeName, kTimeHelp, static_cast<uint64_t>(milliseconds),
                    {{"endpoint", key.first}, {"method", key.second}});
  }
}

}  // namespace culvert::hub
