#include "quic/peer_watch.h"

#include <algorithm>
#include <utility>

#include "quic/core.h"
#include "quic/core_reports.h"

namespace culvert::quic {

PeerWatch::PeerWatch(ConnectionContext& context, const Paths& paths, bool is_client, TimePoint now)
    : context_(context),
      paths_(paths),
      is_client_(is_client),
      liveness_(now),
      progress_(context.limits().keep_alive) {
  on_received();
}

void PeerWatch::start(TimePoint now) {
  if (is_client_) progress_.start(now);
}

void PeerWatch::on_received() { liveness_.update(liveness_of(context_.endpoint(), context_.core)); }

void PeerWatch::network_changed(TimePoint now) {
  if (is_client_ && context_.is_open) progress_.network_changed(acks(), now);
}

void PeerWatch::on_deadline(TimePoint now, bool can_send, bool is_current) {
  if (context_.is_open && now >= progress_.next_look()) check_progress(now);
  // What was received and not collected yet may be the answer: the look of refresh() comes after it.
  if (is_current && watches_silence() && now >= silence_.next_look()) check_silence(now, can_send);
}

void PeerWatch::refresh(const core::Liveness& seen, TimePoint now, bool can_send) {
  liveness_.update(to_report(seen));
  if (watches_silence()) check_silence(now, can_send);
}

TimePoint PeerWatch::deadline() const {
  if (!context_.is_open) return TimePoint::max();
  return watches_silence() ? std::min(progress_.next_look(), silence_.next_look()) : progress_.next_look();
}

std::optional<Silence> PeerWatch::take_verdict() {
  if (std::exchange(told_, silence_.verdict()) == silence_.verdict()) return std::nullopt;
  return told_;
}

uint64_t PeerWatch::acks() const { return core::cq_connection_acks(context_.endpoint(), context_.core); }

void PeerWatch::check_progress(TimePoint now) {
  if (!progress_.look(acks(), paths_.active().smoothed_rtt, now)) return;
  // A new path begins the core's idle timeout again: not so many of them that silence is noticed late.
  if (now - liveness_.last_heard() < context_.limits().idle_timeout / 2)
    core::cq_connection_network_changed(context_.endpoint(), context_.core, core::to_core(now), false);
}

void PeerWatch::check_silence(TimePoint now, bool can_send) {
  const SilenceWatch::Seen seen{.owed = liveness_.is_answer_owed(),
                                .waiting_since = liveness_.waiting_since(),
                                .pto = liveness_.probe_timeout(),
                                .can_send = can_send};
  if (!silence_.look(seen, now)) return;
  core::cq_connection_ping(context_.endpoint(), context_.core);
  context_.mark_dirty();
}

}  // namespace culvert::quic
