#pragma once
#include <memory>
#include <string>
#include <unordered_set>

#include "edge/certificates.h"
#include "edge/shared.h"
#include "hub/hub.h"
#include "net/event_loop.h"
#include "net/tls.h"

namespace culvert::node {

// Where the edge hands over connections for the hub: ends their TLS and lets the hub serve them. Lives on the
// hub's loop.
class HubDoor {
 public:
  static constexpr size_t kMaxConnections = 256;

  // `pinned` proves the hub's key and is shown to those who ask for no name or for the key's; `public_hosts`
  // are covered by the internal CA.
  HubDoor(net::EventLoop& loop, hub::Hub& hub, net::TlsIdentityPtr pinned,
          std::shared_ptr<edge::Certificates> certificates, std::unordered_set<std::string> public_hosts);

  void admit(edge::HubConnection connection);
  // Nothing goes to the hub from here on: it may be destroyed, which ends the connections it serves.
  void close() { closing_ = true; }
  net::Task<> join() { return tasks_.join(); }

 private:
  net::Task<> serve(edge::HubConnection connection);

  net::EventLoop& loop_;
  hub::Hub& hub_;
  net::TlsIdentityPtr pinned_;
  std::shared_ptr<edge::Certificates> certificates_;
  std::unordered_set<std::string> public_hosts_;
  bool closing_ = false;
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
