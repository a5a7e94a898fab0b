#pragma once
#include <optional>

#include "edge/context.h"
#include "edge/public_connection.h"
#include "net/pipe.h"
#include "origin/origin.h"
#include "tunnel/stream_pump.h"

namespace culvert::edge {

// Reaches origins beside the edge for the connections of one worker, and makes the pumps that carry them
// there.
class OriginCarrier {
 public:
  // The references outlive it; `scratch` outlives everything that it carries.
  OriginCarrier(WorkerContext& context, MutableBytes scratch) : context_(context), scratch_(scratch) {}
  OriginCarrier(const OriginCarrier&) = delete;

  struct Attempt {
    PublicConnection connection;
    std::unique_ptr<net::ByteStream>
        origin;          // nullptr: it was not reached, and PublicConnection::refused says why
    Bytes first;         // PROXY header and what was received of the client
    size_t header_size;  // how many are the header's
  };
  // The connection's pick has an origin. `has_other`: another target could get it.
  net::Task<Attempt> reach(PublicConnection connection, bool has_other);
  std::shared_ptr<tunnel::StreamPump> make_pump(Attempt& attempt, tunnel::MovedBytes::Several moved,
                                                std::move_only_function<void(tunnel::PumpResult)> on_done);
  // Of a challenge: the whole response, for its client; nullopt: PublicConnection::refused says why not.
  struct Answer {
    PublicConnection connection;
    std::optional<Bytes> response;
  };
  net::Task<Answer> ask(PublicConnection connection);
  // Connections that wait for their origin.
  size_t reaching() const { return reaching_; }

 private:
  const StaticOriginPtr& begin(PublicConnection& connection);
  void observed(const StaticOriginPtr& origin, const std::optional<origin::OriginFault>& fault);

  WorkerContext& context_;
  const MutableBytes scratch_;
  net::PipePool pipes_;
  size_t reaching_ = 0;
};

}  // namespace culvert::edge
