#include "hub/edge_runs.h"

#include <algorithm>
#include <utility>

namespace culvert::hub {

Result<> EdgeRuns::admit(const EndpointId& edge, std::string_view run, const SocketAddr& client,
                         TimePoint now) {
  if (run.empty()) return {};
  const auto [place, is_new] = speaking_.try_emplace(edge);
  Speaking& last = place->second;
  if (is_new || last.run == run) {
    last.run = run;
    last.place = client.ip_text();
    last.heard = now;
    return {};
  }
  const bool has_spoken = std::ranges::find(last.former, run) != last.former.end();
  if (has_spoken && now - last.heard < kSilence) {
    last.conflict = now;
    last.other_place = client.ip_text();
    return fail(
        ErrorCode::kConflict,
        "another process uses the token of this edge, at {}; stop one of the two, or give it a token of "
        "its own (`culvert edge-invite create`)",
        last.place);
  }
  std::erase(last.former, run);
  last.former.push_back(std::exchange(last.run, std::string(run)));
  if (last.former.size() > kFormer) last.former.pop_front();
  last.place = client.ip_text();
  last.heard = now;
  return {};
}

std::optional<std::string> EdgeRuns::other_place(const EndpointId& edge, TimePoint now) const {
  const auto last = speaking_.find(edge);
  if (last == speaking_.end() || !last->second.conflict || now - *last->second.conflict > kShown)
    return std::nullopt;
  return last->second.other_place;
}

}  // namespace culvert::hub
