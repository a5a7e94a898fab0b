#pragma once
#include <optional>
#include <set>

#include "base/bytes.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"

namespace culvert::edge {

// Clients whose TLS is done and who speak HTTP, in which the client begins: until they ask, as browsers that
// connect ahead do not for long, they cost agents and origins nothing. Lives on one loop.
class RequestWait {
 public:
  RequestWait() = default;
  RequestWait(const RequestWait&) = delete;

  // What came first, of the client's own; empty: there was nothing yet when end() was called. nullopt: the
  // client has left, or sent nothing until `deadline`; the stream may be closed. The stream outlives the
  // call.
  net::Task<std::optional<Bytes>> first_bytes(net::ByteStream& stream, TimePoint deadline);
  // Nobody waits any longer, nor from here on.
  void end();
  size_t size() const { return waiting_.size(); }

 private:
  bool is_over_ = false;
  std::set<net::Notify*> waiting_;
};

}  // namespace culvert::edge
