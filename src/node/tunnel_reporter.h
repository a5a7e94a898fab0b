#pragma once
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "hubapi/edge_api.h"
#include "route/liveness.h"

namespace culvert::node {

// Makes of what the workers of an edge hear the reports that its hub needs: what has changed, and nothing
// else. A report that was not confirmed may or may not have arrived: then another session tells everything
// anew. Sans-I/O.
class TunnelReporter {
 public:
  // An edge that is silent for longer is taken for gone by its hub (hub::EdgeSessions::kSilence).
  static constexpr Duration kHeartbeat = std::chrono::seconds(8);

  void heard(const std::vector<route::AgentHeard>& agents);
  void closed(const EndpointId& agent);
  void left(const EndpointId& agent);

  // The next report, if one is due; the last one was confirmed or given up.
  std::optional<hubapi::TunnelReport> next(TimePoint now, uint64_t fresh_session);
  // The hub has taken the last report.
  void confirmed();
  // It may not have: the next one begins another session.
  void restart() { session_.reset(); }

 private:
  std::optional<uint64_t> session_;
  uint64_t number_ = 0;
  TimePoint reported_;
  std::unordered_map<EndpointId, TimePoint> heard_;  // when last
  std::set<EndpointId> known_;                       // the hub hears them
  std::set<EndpointId> closed_;                      // to be told
  std::set<EndpointId> left_;                        // to be told
  hubapi::TunnelReport last_;
};

}  // namespace culvert::node
