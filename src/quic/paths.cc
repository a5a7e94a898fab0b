#include "quic/paths.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "quic/core.h"

namespace culvert::quic {

std::vector<PathStats> Paths::all() const {
  std::array<core::PathInfo, 32> infos;
  const size_t count = core::cq_paths(context_.endpoint(), context_.core, infos.data(), infos.size());
  std::vector<PathStats> out;
  for (size_t i = 0; i < count; ++i) {
    const core::PathInfo& info = infos[i];
    out.push_back({.id = info.id,
                   .remote = core::from_core(info.remote),
                   .local = core::from_core(info.local),
                   .observed = core::from_core(info.observed),
                   .established = info.established,
                   .backup = info.backup,
                   .remote_backup = info.remote_backup,
                   .smoothed_rtt = Duration(static_cast<int64_t>(info.rtt_ns)),
                   .congestion_window = info.congestion_window,
                   .max_datagram_size = info.mtu,
                   .bytes_sent = info.bytes_sent,
                   .bytes_received = info.bytes_received,
                   .packets_lost = info.packets_lost,
                   .congestion_events = info.congestion_events,
                   .mtu_black_holes = info.black_holes});
  }
  return out;
}

PathStats Paths::active() const {
  std::vector<PathStats> paths = all();
  if (paths.empty()) return {};
  auto better = [](const PathStats& a, const PathStats& b) {
    return std::tuple(!a.established, a.backup, a.id) < std::tuple(!b.established, b.backup, b.id);
  };
  return *std::ranges::min_element(paths, better);
}

bool Paths::is_multipath() const {
  core::Status status;
  core::cq_connection_status(context_.endpoint(), context_.core, &status);
  return status.multipath;
}

Result<PathId> Paths::open(const SocketAddr& remote, bool backup, TimePoint now) {
  const uint32_t path = core::cq_path_open(context_.endpoint(), context_.core, core::to_core(now),
                                           core::to_core(remote), backup);
  context_.mark_dirty();
  constexpr uint32_t kFirstError = UINT32_MAX - 4;
  if (path < kFirstError) return path;
  switch (UINT32_MAX - path) {
    case 0:
      return fail(ErrorCode::kUnavailable, "the peer does not support multipath");
    case 1:
      return fail(ErrorCode::kUnavailable, "only the client of a connection opens paths");
    case 2:
      return fail(ErrorCode::kLimit, "the peer allows no further path now");
    case 3:
      return fail(ErrorCode::kLimit, "the peer issued no connection id for a further path yet");
    default:
      return fail(ErrorCode::kInvalid, "no path can be opened to {}", remote.to_string());
  }
}

bool Paths::close(PathId path, TimePoint now) {
  context_.mark_dirty();
  return core::cq_path_close(context_.endpoint(), context_.core, core::to_core(now), path, 0);
}

bool Paths::set_backup(PathId path, bool backup) {
  context_.mark_dirty();
  return core::cq_path_set_backup(context_.endpoint(), context_.core, path, backup);
}

bool Paths::set_timers(PathId path, Duration idle_timeout, Duration keep_alive, TimePoint now) {
  auto milliseconds = [](Duration duration) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
  };
  context_.mark_dirty();
  return core::cq_path_set_timers(context_.endpoint(), context_.core, core::to_core(now), path,
                                  milliseconds(idle_timeout), milliseconds(keep_alive));
}

bool Paths::ping(PathId path) {
  context_.mark_dirty();
  return core::cq_path_ping(context_.endpoint(), context_.core, path);
}

bool Paths::add_candidate(const SocketAddr& address) {
  context_.mark_dirty();
  return core::cq_candidate_add(context_.endpoint(), context_.core, core::to_core(address));
}

bool Paths::remove_candidate(const SocketAddr& address) {
  context_.mark_dirty();
  return core::cq_candidate_remove(context_.endpoint(), context_.core, core::to_core(address));
}

Result<size_t> Paths::punch(TimePoint now) {
  context_.mark_dirty();
  const uint32_t probed =
      core::cq_nat_traversal_round(context_.endpoint(), context_.core, core::to_core(now));
  if (probed == UINT32_MAX) {
    return fail(ErrorCode::kUnavailable,
                "NAT traversal is not possible: not negotiated, not a client, or no candidate");
  }
  return size_t{probed};
}

void Paths::take(const core::Event& event) {
  using enum core::EventKind;
  PathEvent out{PathEvent::Kind::kEstablished, event.path, event.code == 1, core::from_core(event.address)};
  switch (event.kind) {
    case kPathEstablished:
      break;
    case kPathAbandoned:
      out.kind = PathEvent::Kind::kAbandoned;
      break;
    case kPathRemoteStatus:
      out.kind = PathEvent::Kind::kRemoteStatus;
      break;
    case kObservedAddress:
      out.kind = PathEvent::Kind::kObservedAddress;
      break;
    case kRemoteCandidateAdded:
      out.kind = PathEvent::Kind::kRemoteCandidateAdded;
      break;
    case kRemoteCandidateRemoved:
      out.kind = PathEvent::Kind::kRemoteCandidateRemoved;
      break;
    default:
      return;
  }
  // Bounded by the peer's packets of one batch: Connection::dispatch() empties it. Also before there is an
  // observer: what came with the end of a handshake is for the observer that accepts the connection.
  events_.push_back(out);
}

}  // namespace culvert::quic
