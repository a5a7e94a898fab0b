#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"
#include "net/pipe.h"
#include "tunnel/any_pump.h"
#include "tunnel/byte_budget.h"
#include "tunnel/pacer.h"
#include "tunnel/pump.h"
#include "tunnel/pump_limits.h"

namespace culvert::tunnel {

// Joins a client and an origin that the edge reached itself, both ways, until both directions have ended or
// something broke: what a Pump at the edge and one at an agent do together, without the tunnel between. Holds
// no buffer and no pipe while nothing moves. Lives on the loop of both streams and keeps itself alive until
// on_done has run.
//
// Much of a direction goes through a pipe of the kernel where both streams are sockets; anything else is
// copied.
//
// Each direction keeps its own clean end (half-close). A broken stream becomes RST on the other.
//
//   client -> origin                              origin -> client
//   kFlowing    moving                            kFlowing    moving
//   kFinishing  EOF seen, the origin's end        kFinishing  EOF seen, the client's end
//               not yet written                               not yet written
//   kEnded      the origin has its end            kEnded      the client has its end
//   kDropping   the origin takes no more: what    kEnded      or the origin broke after it gave
//               the client gives is dropped,                  something: RST follows
//               and the answer goes on
//
// While `budgets` are overdrawn neither direction moves anything.
class StreamPump final : public AnyPump, public std::enable_shared_from_this<StreamPump> {
 public:
  struct Config {
    std::unique_ptr<net::ByteStream> client;
    std::unique_ptr<net::ByteStream> origin;
    MutableBytes scratch;            // shared by every pump of the loop; outlives them
    net::PipePool* pipes = nullptr;  // of the loop, outlives its pumps; nullptr: everything is copied
    Bytes initial = {};              // goes to the origin before what the client gives
    // Once; may run inside start() and cut(). PumpResult::refused_socket: the client's, when the origin broke
    // before it gave anything.
    std::move_only_function<void(PumpResult)> on_done;
    PumpLimits limits = {};
    std::vector<ByteBudget*> budgets = {};  // what moves counts against each; they outlive it
    MovedBytes::Several moved = {};         // outlive the pump: what moves is added at once
  };

  static std::shared_ptr<StreamPump> create(Config config);
  ~StreamPump() override;
  StreamPump(const StreamPump&) = delete;

  void start();
  void cut(quic::AppCode code) override;
  // to_stream: to the origin.
  const PumpCounters& counters() const override { return counters_; }
  // Whether a direction holds a pipe or bytes now.
  bool holds_bytes() const;

 private:
  enum class State : uint8_t { kFlowing, kFinishing, kEnded, kDropping };
  enum Side : uint8_t { kClient, kOrigin };
  enum class Ready : uint8_t { kNothing, kReadable, kWritable };
  struct Way {
    Side from, to;
    State state = State::kFlowing;
    bool is_bulk = false;  // a read filled the scratch
    std::unique_ptr<net::Pipe> pipe = nullptr;
    Bytes left = {};       // read, and not taken yet
    size_t left_sent = 0;  // how many of these were taken
    // What it waits for; with TLS either stream may want either.
    Side wait_at = kClient;
    Ready wait = Ready::kNothing;

    bool has_bytes() const { return !left.empty() || (pipe && !pipe->is_empty()); }
  };

  explicit StreamPump(Config config);

  net::ByteStream& at(Side side) { return side == kClient ? *config_.client : *config_.origin; }
  net::EventLoop& loop() const { return config_.client->loop(); }
  bool is_to_origin(const Way& way) const { return way.to == kOrigin; }
  void move(Way& way);
  bool step(Way& way);
  bool deliver(Way& way);
  bool copy(Way& way);
  bool fill_pipe(Way& way);
  void keep(Way& way, ByteView rest);
  void release(Way& way);
  void took(Way& way, size_t bytes);
  void giver_ended(Way& way, net::IoStatus how);
  void taker_failed(Way& way);
  void finish(Way& way);
  void drop(Way& way);
  void finish_if_done();
  void wait_for(Way& way, Side side, net::IoStatus want);
  void on_ready(Side side, Ready what);
  void end(PumpEnd why, quic::AppCode code);
  void end_after(Duration delay, PumpEnd why, quic::AppCode code);  // in place of the ticks
  Duration tick_length() const;
  void arm_tick();
  void tick();
  uint64_t activity() const;

  Config config_;
  bool can_splice_;
  std::shared_ptr<StreamPump> self_;  // from start() to the end
  PumpCounters counters_;
  Way to_origin_{.from = kClient, .to = kOrigin};
  Way to_client_{.from = kOrigin, .to = kClient};
  std::array<std::array<bool, 2>, 2> armed_{};  // by side: readable, writable
  net::Timer timer_;
  Pacer pacer_;
  uint64_t last_activity_ = 0;
  Duration idle_for_{};     // whole ticks without activity
  bool is_ending_ = false;  // end_after() decides
  bool origin_broke_ = false;
  bool done_ = false;
};

}  // namespace culvert::tunnel
