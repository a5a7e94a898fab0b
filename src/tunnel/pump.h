#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"
#include "quic/stream.h"
#include "tunnel/any_pump.h"
#include "tunnel/byte_budget.h"
#include "tunnel/moved_bytes.h"
#include "tunnel/pacer.h"
#include "tunnel/pump_limits.h"

namespace culvert::tunnel {

// How a pump came to its end.
enum class PumpEnd {
  kFinished,        // both directions ended cleanly
  kSocketReset,     // the socket broke: RST, or TLS cut short
  kStreamReset,     // the peer gave the stream up; `code` says why
  kConnectionLost,  // the tunnel connection ended under it
  kIdle,            // nothing moved for too long
  kCut,             // cut() was called
};
const char* to_string(PumpEnd end);

// A stable word for a stream code of tunnel/protocol.h, for logs; "unknown" for others.
const char* stream_code_name(quic::AppCode code);

struct PumpResult {
  PumpEnd end;
  quic::AppCode code;  // kStreamReset: the peer's; otherwise what the peer was told, 0 if nothing
  PumpCounters bytes;
  // With kStreamReset: not the peer but our own memory cap ended it, since the socket took nothing for too
  // long.
  bool given_up = false;
  // The socket got all that came out of the stream, and its end.
  bool was_delivered = false;
  // With return_refused_socket, when the peer reset the stream before any byte reached the socket: the
  // socket, still open, so that its client can be told why; and with return_unanswered, if nothing but
  // `initial` went in, `initial`.
  std::unique_ptr<net::ByteStream> refused_socket;
  // With return_unanswered, when the tunnel was lost before anything came out of it and before anything but
  // `initial` went in: the socket, still open, and `initial`. Another tunnel may be given the same.
  std::unique_ptr<net::ByteStream> unanswered_socket;
  Bytes initial;
  std::string socket_error = {};  // kSocketReset: what broke it, for people
};

// Joins a socket and a QUIC stream, both ways, until both directions have ended or something broke. The data
// path: a callback state machine that holds no buffer while nothing moves. Lives on the socket's loop and
// keeps itself alive until on_done has run.
//
// Each direction keeps its own clean end (half-close). What did not end cleanly is never made to look so: a
// broken socket becomes RESET_STREAM and STOP_SENDING, a reset stream or a lost tunnel becomes RST.
//
//   socket -> stream                             stream -> socket
//   kFlowing   reading while the stream takes    kFlowing    writing what has arrived
//   kEnded     EOF seen, FIN sent                kFinishing  FIN seen, the socket's end not yet written
//   kStopped   the peer wants no more: what the  kEnded      the socket's sending half is finished
//              socket gives is dropped, once     kFailed     writing failed, reading goes on (keep_answer)
//              the peer has answered
//   kAborting  the socket broke after it gave
//              something: RESET_STREAM follows
//
// While `budgets` are overdrawn neither direction moves anything.
//
// A stopped direction goes on reading for kLinger after the other one ended: closing a socket with unread
// bytes sends RST, which may destroy the answer on its way to a client that still uploads.
class Pump final : public AnyPump, public quic::StreamObserver, public std::enable_shared_from_this<Pump> {
 public:
  // For a client that uploads to notice that it was answered.
  static constexpr Duration kLinger = std::chrono::seconds(5);
  // Between an answer and the RESET_STREAM that says it may not be whole: the peer drops what it has not
  // passed on when that arrives. Several round trips of a bad path.
  static constexpr Duration kAbortDelay = std::chrono::seconds(2);

  using Tap = std::move_only_function<void(ByteView)>;

  struct Config {
    std::unique_ptr<net::ByteStream> socket;
    std::shared_ptr<quic::Stream> stream;  // with no observer; may have bytes to read already
    MutableBytes scratch;                  // shared by every pump of the loop; outlives them
    quic::AppCode abort_code;              // told to the peer when the socket breaks
    Bytes initial;                         // goes into the stream before what the socket gives
    size_t initial_sent = 0;               // bytes of it that the stream has already
    Tap tap_to_stream;                     // see every byte that moved; may be empty
    Tap tap_to_socket;
    bool return_refused_socket = false;
    bool return_unanswered = false;  // keeps `initial` until a byte moves either way
    // Whether what the socket gives first may be sent twice: then it becomes a part of `initial`.
    bool (*may_repeat)(ByteView first) = nullptr;
    // For an origin, which may answer and close before it has read a request to its end: a socket that cannot
    // be written to any more is read to its end, and what it gave is delivered before the stream is reset.
    bool keep_answer = false;
    std::move_only_function<void(PumpResult)> on_done;  // once; may run inside start() and cut()
    PumpLimits limits = {};                             // each is exceeded by half_open at most
    std::vector<ByteBudget*> budgets = {};              // what moves counts against each; they outlive it
    MovedBytes::Several moved = {};                     // outlive the pump: what moves is added at once
  };

  static std::shared_ptr<Pump> create(Config config);
  ~Pump() override;
  Pump(const Pump&) = delete;

  void start();
  void cut(quic::AppCode code) override;
  const PumpCounters& counters() const override { return counters_; }

 private:
  enum class ToStream : uint8_t { kFlowing, kEnded, kStopped, kAborting };
  enum class ToSocket : uint8_t { kFlowing, kFinishing, kEnded, kFailed };
  enum class Wait : uint8_t { kNothing, kReadable, kWritable };

  explicit Pump(Config config);

  void on_readable() override;
  void on_writable() override;
  void on_closed() override;

  void move_to_stream();
  void send_initial();
  bool initial_is_sent() const { return initial_sent_ == config_.initial.size(); }
  bool keep_for_another(ByteView data);
  void something_moved();
  void count_to_stream(size_t bytes);
  void count_to_socket(size_t bytes);
  bool is_unanswered(PumpEnd why) const;
  void socket_ended();
  void drop_from_socket();
  void move_to_socket();
  void something_came();
  void tap_to_socket(std::span<const ByteView> parts, size_t count);
  void finish_socket();
  void wait_for(Wait& who, Wait what);
  void on_socket_ready(Wait what);
  void finish_if_done();
  void writing_failed();
  void socket_broke();
  void end(PumpEnd why, quic::AppCode code);
  void give_up_stream(PumpEnd why, quic::AppCode code);
  Duration tick_length() const;
  void end_after(Duration delay, PumpEnd why, quic::AppCode code);  // in place of the ticks
  void arm_tick();
  void tick();
  uint64_t activity() const;

  Config config_;
  std::shared_ptr<Pump> self_;  // from start() to the end
  PumpCounters counters_;
  net::Timer timer_;
  Pacer pacer_;
  size_t initial_sent_ = 0;
  uint64_t last_activity_ = 0;
  Duration idle_for_{};  // whole ticks without activity
  ToStream to_stream_ = ToStream::kFlowing;
  ToSocket to_socket_ = ToSocket::kFlowing;
  Wait to_stream_wait_ = Wait::kNothing;  // which socket readiness each direction waits for;
  Wait to_socket_wait_ = Wait::kNothing;  // with TLS either may want either
  bool armed_readable_ = false;
  bool armed_writable_ = false;
  bool lingering_ = false;
  bool done_ = false;
};

}  // namespace culvert::tunnel
