#pragma once
#include <map>
#include <memory>
#include <string>

#include "edge/carrier.h"
#include "edge/context.h"
#include "edge/public_listener.h"
#include "edge/udp_carrier.h"
#include "edge/udp_port.h"
#include "net/tcp.h"
#include "route/delta.h"

namespace culvert::edge {

// The ports of routes that one worker listens on; each port belongs to one worker, by its number, also those
// of one range. A port is bound when its route appears and released when that goes. One that cannot be bound
// is tried again until it can; agents and operators are told (PortFaults).
class PortListeners {
 public:
  // The references outlive it.
  PortListeners(WorkerContext& context, PublicListener& listener, Carrier& carrier, UdpCarrier& udp_carrier)
      : context_(context), listener_(listener), carrier_(carrier), udp_carrier_(udp_carrier) {}
  PortListeners(const PortListeners&) = delete;

  // After the routes changed.
  void follow(const route::Delta& changes);
  // Nothing is accepted any more; flows of UDP ports go on.
  void drain();
  // For good, all of it.
  void close();
  // Datagrams from agents for the clients of one of its UDP ports.
  void take(const UdpBatch& replies);
  // A tunnel of any worker has ended, or its agent stops.
  void tunnel_changed(uint64_t generation, bool has_ended);

 private:
  struct Port {
    explicit Port(net::EventLoop& loop) : retry(loop) {}

    // One of these, unless it could not be bound yet.
    std::shared_ptr<net::TcpListener> listener = nullptr;
    std::unique_ptr<UdpPort> udp = nullptr;
    std::string fault = {};  // why, as reported
    Duration wait{};         // before the next attempt
    net::Timer retry;
  };

  bool is_ours(const route::PublicPort& port) const;
  void follow_all(const route::PublicPort& ports);
  void follow(const route::PublicPort& number);
  void open(const route::PublicPort& number);
  void bind(const route::PublicPort& number);
  Result<> listen(const route::PublicPort& number, Port& port);
  void failed(const route::PublicPort& number, const Error& error);
  void clear_fault(const route::PublicPort& number);
  void release(route::PublicPort number);
  net::Task<> serve(route::PublicPort port, PublicConnection connection, Bytes begun);

  WorkerContext& context_;
  PublicListener& listener_;
  Carrier& carrier_;
  UdpCarrier& udp_carrier_;
  std::map<route::PublicPort, std::unique_ptr<Port>> ports_;
  bool is_draining_ = false;
};

}  // namespace culvert::edge
