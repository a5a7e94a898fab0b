#include "paths.h"

#include <algorithm>

#include "base/log.h"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using endpoint::PathEvent;
using endpoint::PathId;
using endpoint::PathStats;

constexpr Duration kTick = 100ms;
// A path on which something was sent and nothing came back is asked by a ping, and closed later. The second
// must leave time for the ping to be lost and repeated.
constexpr Duration kSuspect = 1s;
constexpr Duration kSilent = 3s;
// A round's probes end after 4 s.
constexpr Duration kRoundInterval = 5s;
constexpr Duration kLateRoundInterval = 30s;
constexpr int kEarlyRounds = 6;
// As stock iroh has it: a relay may need time to come back, and is the last path.
constexpr Duration kRelayIdle = 30s;
// While a direct path is used, acknowledgements come on that one, and QUIC's idle timer of the relay path
// counts only what is received on the relay path itself. A keep-alive also puts off the peer's, so with equal
// intervals one side hears nothing and abandons the path. So ours is longer than iroh's 5 s, and each of the
// peer's is answered by a ping.
constexpr Duration kRelayKeepAlive = 8s;
constexpr Duration kRelayAnswer = 4s;  // at most one in this time: the peer may do the same
constexpr Duration kRelayHeard = 12s;

}  // namespace

net::Task<> PathKeeper::run() {
  config_.say(fmt::format("MULTIPATH {}", connection_->is_multipath() ? "yes" : "no"));
  for (const SocketAddr& candidate : config_.candidates) connection_->add_candidate(candidate);
  round_wanted_ = true;
  net::TaskGroup tasks(loop_);
  tasks.spawn(follow_events());
  while (connection_->is_open()) {
    look(monotonic_now());
    co_await changed_.wait_until(monotonic_now() + kTick);
  }
  co_await tasks.join();
}

net::Task<> PathKeeper::follow_events() {
  while (true) {
    Result<PathEvent> event = co_await connection_->next_path_event();
    if (!event) break;
    if (event->kind == PathEvent::Kind::kObservedAddress) {
      config_.say(fmt::format("OBSERVED {}", event->address.to_string()));
    }
    if (event->kind == PathEvent::Kind::kRemoteCandidateAdded && config_.is_client) round_wanted_ = true;
    changed_.notify();
  }
  changed_.notify();
}

void PathKeeper::look(TimePoint now) {
  std::vector<PathStats> paths = connection_->paths();
  std::erase_if(paths, [](const PathStats& path) { return !path.established; });
  compare(paths, now);
  if (config_.relay) steer(paths, now);
}

void PathKeeper::compare(const std::vector<PathStats>& paths, TimePoint now) {
  for (const PathStats& path : paths) {
    auto [found, is_new] = seen_.try_emplace(path.id);
    Seen& seen = found->second;
    if (is_new || seen.remote != path.remote) {
      config_.say(fmt::format("PATH {} {} {}", path.id, is_new ? "open" : "moved", path.remote.to_string()));
      seen.remote = path.remote;
    }
    if (is_new || seen.received != path.bytes_received) {
      seen.received = path.bytes_received;
      seen.sent = path.bytes_sent;
      seen.heard = now;
      seen.unanswered.reset();
      seen.pinged = false;
    } else if (!seen.unanswered && path.bytes_sent != seen.sent) {
      seen.unanswered = now;
    }
  }
  std::erase_if(seen_, [&](const auto& entry) {
    const auto& [id, seen] = entry;
    if (std::ranges::find(paths, id, &PathStats::id) != paths.end()) return false;
    config_.say(fmt::format("PATH {} abandoned {}", id, seen.remote.to_string()));
    return true;
  });
}

bool PathKeeper::is_suspect(PathId path, TimePoint now) const {
  const Seen& seen = seen_.at(path);
  return seen.unanswered && now - *seen.unanswered >= kSuspect;
}

void PathKeeper::steer(const std::vector<PathStats>& paths, TimePoint now) {
  const PathStats* relay = nullptr;
  const PathStats* direct = nullptr;
  for (const PathStats& path : paths) {
    if (is_relay(path)) {
      relay = &path;
    } else if (direct == nullptr || (is_suspect(direct->id, now) && !is_suspect(path.id, now))) {
      direct = &path;
    }
  }
  if (relay != nullptr) {
    if (timed_relay_ != relay->id) connection_->set_path_timers(relay->id, kRelayIdle, kRelayKeepAlive);
    timed_relay_ = relay->id;
    if (relay->backup != (direct != nullptr)) connection_->set_backup(relay->id, direct != nullptr);
    if (relay->backup && seen_.at(relay->id).heard > relay_answered_ &&
        now - relay_answered_ >= kRelayAnswer) {
      relay_answered_ = now;
      connection_->ping_path(relay->id);
    }
  } else if (config_.is_client && now >= next_relay_) {
    next_relay_ = now + kRoundInterval;
    (void)connection_->open_path(*config_.relay, true);
  }
  for (const PathStats& path : paths) {
    if (is_relay(path)) continue;
    if (&path != direct && config_.is_client) {
      connection_->close_path(path.id);
    } else if (path.backup) {
      connection_->set_backup(path.id, false);
    }
  }

  if (direct != nullptr) {
    rounds_ = 0;
    next_round_ = now + kRoundInterval;
    round_wanted_ = false;
    had_direct_ = true;
    if (relay == nullptr || !is_suspect(direct->id, now)) return;
    Seen& seen = seen_.at(direct->id);
    // What a path that is idle has sent last may have been an acknowledgement, which has no answer.
    if (!std::exchange(seen.pinged, true)) connection_->ping_path(direct->id);
    // Where the relay is down too, the direct path stays: nothing could find another one.
    const bool relay_lives = now - seen_.at(relay->id).heard < kRelayHeard;
    // Closing it, rather than using both, makes the peer change too, and sends again what was in flight.
    if (now - *seen.unanswered >= kSilent && relay_lives) connection_->close_path(direct->id);
    return;
  }
  if (round_wanted_ || std::exchange(had_direct_, false) || now >= next_round_) start_round(now);
}

void PathKeeper::start_round(TimePoint now) {
  round_wanted_ = false;
  next_round_ = now + (rounds_++ < kEarlyRounds ? kRoundInterval : kLateRoundInterval);
  if (config_.is_client) {
    // Fails until the server has sent its candidates.
    (void)connection_->punch();
  } else if (rounds_ > 1) {
    // Only clients start rounds. Stock iroh does so when the server's candidates change, else after 60 s.
    for (const SocketAddr& candidate : config_.candidates) {
      connection_->remove_candidate(candidate);
      connection_->add_candidate(candidate);
    }
  }
}

}  // namespace culvert
