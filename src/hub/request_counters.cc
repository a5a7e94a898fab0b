#include "hub/request_counters.h"

#include <fmt/format.h>

namespace culvert::hub {
namespace {

constexpr const char* kUnmatched = "unmatched";
constexpr const char* kAnyMethod = "any";

}  // namespace

void RequestCounters::count(const http::Exchange& exchange, TimePoint now) {
  const bool is_matched = !exchange.pattern.empty();
  const std::string endpoint = is_matched ? std::string(exchange.pattern) : kUnmatched;
  const std::string method = is_matched ? exchange.request.method : kAnyMethod;
  ++answers_[{endpoint, method, exchange.answer_status}];
  times_[{endpoint, method}].count(now - exchange.now);
}

void RequestCounters::report(Metrics& metrics) const {
  constexpr const char* kName = "culvert_hub_requests_total";
  constexpr const char* kHelp =
      "Requests to the hub that were answered, by the pattern of their path, method and status.";
  constexpr const char* kTimeName = "culvert_hub_request_duration_seconds";
  constexpr const char* kTimeHelp =
      "How long answers took from the end of their request, a stream until its end, by pattern and method.";
  // There from the start, so that a rate has a beginning.
  metrics.counter(kName, kHelp, 0, {{"endpoint", kUnmatched}, {"method", kAnyMethod}, {"status", "404"}});
  metrics.histogram(kTimeName, kTimeHelp, {}, {{"endpoint", kUnmatched}, {"method", kAnyMethod}});
  for (const auto& [key, answers] : answers_) {
    metrics.counter(
        kName, kHelp, answers,
        {{"endpoint", key.endpoint}, {"method", key.method}, {"status", std::to_string(key.status)}});
  }
  for (const auto& [key, times] : times_)
    metrics.histogram(kTimeName, kTimeHelp, times, {{"endpoint", key.first}, {"method", key.second}});
}

}  // namespace culvert::hub
