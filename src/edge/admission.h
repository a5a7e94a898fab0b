#pragma once
#include <expected>
#include <optional>
#include <unordered_map>
#include <utility>

#include "edge/close_reason.h"
#include "edge/counters.h"
#include "edge/refusals.h"
#include "edge/unserved.h"
#include "net/byte_stream.h"

namespace culvert::edge {

struct Shared;

// Lets public connections in, as far as the caps allow, and knows those of a worker that may lose their
// place: clients whose hello or TLS handshake is unfinished or that no agent was asked for yet.
class Admission {
 public:
  // One such client's place, from its admission until an agent is asked. Its socket may be reset meanwhile,
  // by shutdown or for a newer one of its source. The socket outlives it.
  class Pending {
   public:
    Pending(Admission& owner, net::ByteStream& socket, Unserved::Place place) : place_(std::move(place)) {
      attach(owner, socket);
    }
    Pending(Pending&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), place_(std::move(other.place_)) {}
    Pending& operator=(Pending&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(place_, other.place_);
      return *this;
    }
    ~Pending() { detach(); }

    // The client moves to another worker; the place is kept.
    void detach();
    void attach(Admission& owner, net::ByteStream& socket);
    // Why its socket was reset; nullopt: it was not.
    std::optional<CloseReason> dropped() const;

   private:
    friend class Admission;
    Admission* owner_ = nullptr;
    Unserved::Place place_;
  };
  struct Admitted {
    ConnectionSlot slot;
    Pending pending;
  };

  // The references outlive it.
  Admission(Shared& shared, unsigned worker, const net::EventLoop& loop, Refusals& refusals)
      : shared_(shared), worker_(worker), loop_(loop), refusals_(refusals) {}
  Admission(const Admission&) = delete;

  // Error: the limit that was met. A client that has to make room for this one is reset. `from_proxy`: what
  // the socket says is not the client's address; identify() follows.
  std::expected<Admitted, CloseReason> admit(net::ByteStream& socket, bool from_proxy);
  // A proxy has told who the client is. Returns the limit that was met.
  std::optional<CloseReason> identify(ConnectionSlot& slot, Pending& pending, const SocketAddr& client);
  // Lost its place.
  void drop(uint64_t id);
  void drop_all();
  bool empty() const { return waiting_.empty(); }

 private:
  struct Waiting {
    net::ByteStream* socket;
    std::optional<CloseReason> dropped = std::nullopt;
  };

  std::optional<CloseReason> take_source(ConnectionSlot& slot, const SocketAddr& client);
  void evict(const Unserved::Entry& entry);

  Shared& shared_;
  const unsigned worker_;
  const net::EventLoop& loop_;
  Refusals& refusals_;
  std::unordered_map<uint64_t, Waiting> waiting_;
};

}  // namespace culvert::edge
