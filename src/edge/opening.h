#pragma once
#include "base/bytes.h"
#include "base/clock.h"
#include "endpoint/endpoint.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"
#include "tunnel/stream_header.h"

namespace culvert::edge {

// One attempt to hand a client to an agent: a fresh stream, the header and the client's first bytes on it,
// until the agent proves that it was there to get them. Until then nothing of the attempt is visible to the
// client, and another agent may be given the same bytes.
//
// Those are: of a passthrough client its ClientHello; of a terminated one its first request, if that may be
// repeated. If it may not, it is read but held back until the agent has proved itself. Of a client of a port
// they are nothing, because its protocol is not known; only where no other agent could get the connection,
// its first bytes go out at once, and no other gets it then. Nothing else is read.
class Opening final : private quic::StreamObserver {
 public:
  enum class Result {
    kAnswered,
    kSilent,  // the deadline came first; wait() may be called again
    kLost,    // the tunnel has ended
    kClientGone,
  };

  // The socket outlives it. `received`: of the client, not decrypted for passthrough. `is_last`: no other
  // agent could get the connection. `scratch` is as large as what may be read at once, and outlives it as
  // well.
  Opening(net::ByteStream& socket, endpoint::StreamPtr stream, Bytes header, ByteView received,
          tunnel::StreamKind kind, bool is_last, MutableBytes scratch);
  // Resets the stream unless it was taken.
  ~Opening() override;
  Opening(const Opening&) = delete;

  net::Task<Result> wait(TimePoint deadline);

  // All that was received of the client.
  Bytes received() const;
  // Whether another agent may be given the same.
  bool is_repeatable() const { return is_repeatable_; }

  // What goes on after kAnswered.
  struct Taken {
    endpoint::StreamPtr stream;
    Bytes initial;       // header and received bytes
    size_t header_size;  // how many are the header's
    size_t sent;         // how many the stream has
    bool is_repeatable;
  };
  Taken take();

 private:
  void on_readable() override { changed_.notify(); }
  void on_writable() override { changed_.notify(); }
  void on_closed() override { changed_.notify(); }

  bool is_answered();
  void send();
  void read_first();
  void add(ByteView first);

  net::ByteStream& socket_;
  endpoint::StreamPtr stream_;
  MutableBytes scratch_;
  Bytes initial_;
  size_t header_size_;
  size_t sent_ = 0;
  Bytes held_;  // must not be sent yet
  tunnel::StreamKind kind_;
  bool is_last_;
  bool is_repeatable_ = true;
  bool wants_first_;  // the client's first bytes are still to be read
  bool reading_ = false;
  bool gone_ = false;
  net::Notify changed_;
};

}  // namespace culvert::edge
