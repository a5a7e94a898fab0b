#pragma once
#include <list>
#include <memory>
#include <string>
#include <unordered_set>

#include "base/metrics.h"
#include "base/random.h"
#include "base/rate_limit.h"
#include "edge/public_connection.h"
#include "hub/hub.h"
#include "net/event_loop.h"
#include "tls/certificates.h"
#include "tls/tls.h"

namespace culvert::node {

// Where the edge hands over connections for the hub: ends their TLS and lets the hub serve them. Lives on the
// hub's loop.
class HubDoor {
 public:
  // At once. The newest gets in. When all places are taken, one of those that have not sent a whole request
  // yet loses its place, at random: with the oldest, a flood would end every handshake that takes longer than
  // the flood needs for all places. As long as these are less than half of all, the oldest of the others
  // goes: requests are cheap to send, and a flood of them must not keep handshakes out. A source (an IPv4
  // address, an IPv6 /64) that has its share loses its own oldest that has not asked yet; when all have, the
  // newest is refused.
  struct Limits {
    size_t connections = 256;
    size_t per_source = 64;
  };

  struct Counters {
    size_t open = 0;
    uint64_t dropped = 0;            // for another one, at `connections`
    uint64_t refused_of_source = 0;  // or dropped, at `per_source`
  };

  // The references outlive it. `pinned` proves the hub's key and is shown to those who ask for no name or for
  // the key's; `public_hosts` are covered by the internal CA.
  HubDoor(net::EventLoop& loop, hub::Hub& hub, tls::IdentityPtr pinned,
          std::shared_ptr<tls::Certificates> certificates, std::unordered_set<std::string> public_hosts,
          Limits limits, Random& random);

  void admit(edge::PublicConnection connection);
  // Nothing goes to the hub from here on: it may be destroyed, which ends the connections it serves.
  void close() { closing_ = true; }
  size_t size() const { return entries_.size(); }
  Counters counters() const { return {entries_.size(), dropped_, dropped_of_source_ + refused_}; }
  net::Task<> join() { return tasks_.join(); }

 private:
  struct Entry;

  net::Task<> serve(edge::PublicConnection connection, std::shared_ptr<Entry> entry);
  net::Task<> serve_until_gone(edge::PublicConnection connection, std::shared_ptr<Entry> entry);
  using Entries = std::list<std::shared_ptr<Entry>>;
  bool make_room_for_source(const SocketAddr& client, const std::string& source);
  void make_room();
  void drop(Entries::iterator victim);
  void keep(const std::shared_ptr<Entry>& entry);

  net::EventLoop& loop_;
  hub::Hub& hub_;
  tls::IdentityPtr pinned_;
  std::shared_ptr<tls::Certificates> certificates_;
  std::unordered_set<std::string> public_hosts_;
  Limits limits_;
  Random& random_;
  Entries entries_;  // oldest first
  RateLimit full_log_{1, std::chrono::seconds(10)};
  RateLimit source_log_{1, std::chrono::seconds(10)};
  uint64_t dropped_ = 0;
  uint64_t dropped_of_source_ = 0;
  uint64_t refused_ = 0;
  bool closing_ = false;
  net::TaskGroup tasks_;
};

void report(const HubDoor::Counters& counters, Metrics& metrics);

}  // namespace culvert::node
