#pragma once
#include <optional>

#include "quic/connection_host.h"
#include "quic/liveness.h"
#include "quic/paths.h"
#include "quic/progress_watch.h"
#include "quic/silence_watch.h"

namespace culvert::quic {

namespace core {
struct Liveness;
}

// Watches whether the peer of one connection answers: feeds the watches from the core, and does what they
// decide.
class PeerWatch {
 public:
  PeerWatch(ConnectionContext& context, const Paths& paths, bool is_client, TimePoint now);

  const Liveness& liveness() const { return liveness_; }
  Liveness& liveness() { return liveness_; }
  // The connection is open.
  void start(TimePoint now);
  // Packets were received, and the core has processed them.
  void on_received();
  // The local addresses changed.
  void network_changed(TimePoint now);
  // At deadline(). `can_send`: packets leave this host. `is_current`: the core has no packet that
  // on_received() was not called for.
  void on_deadline(TimePoint now, bool can_send, bool is_current);
  // After packets were written.
  void refresh(const core::Liveness& seen, TimePoint now, bool can_send);
  TimePoint deadline() const;

  bool has_verdict() const { return told_ != silence_.verdict(); }
  // What is to be told of the peer's silence; nullopt: nothing new.
  std::optional<Silence> take_verdict();

 private:
  bool watches_silence() const { return context_.limits().watch_silence && context_.is_open; }
  void check_progress(TimePoint now);
  void check_silence(TimePoint now, bool can_send);
  uint64_t acks() const;

  ConnectionContext& context_;
  const Paths& paths_;
  const bool is_client_;
  Liveness liveness_;
  ProgressWatch progress_;
  SilenceWatch silence_;
  Silence told_ = Silence::kNone;
};

}  // namespace culvert::quic
