#pragma once
#include <map>
#include <memory>
#include <string>

#include "edge/carrier.h"
#include "edge/context.h"
#include "edge/public_listener.h"
#include "net/tcp.h"
#include "route/delta.h"

namespace culvert::edge {

// The TCP ports of routes that one worker listens on; each port belongs to one worker, by its number. A port
// is bound when its route appears and released when that goes. One that cannot be bound is tried again until
// it can; agents and operators are told (PortFaults).
class PortListeners {
 public:
  // The references outlive it.
  PortListeners(WorkerContext& context, PublicListener& listener, Carrier& carrier)
      : context_(context), listener_(listener), carrier_(carrier) {}
  PortListeners(const PortListeners&) = delete;

  // After the routes changed.
  void follow(const route::Delta& changes);
  // For good: nothing is accepted any more.
  void close();

 private:
  struct Port {
    explicit Port(net::EventLoop& loop) : retry(loop) {}

    std::shared_ptr<net::TcpListener> listener = nullptr;  // nullptr: it could not be bound yet
    std::string fault = {};                                // why, as reported
    Duration wait{};                                       // before the next attempt
    net::Timer retry;
  };

  bool is_ours(const route::PublicPort& port) const;
  void open(const route::PublicPort& number);
  void bind(const route::PublicPort& number);
  void failed(const route::PublicPort& number, const Error& error);
  void clear_fault(const route::PublicPort& number);
  void release(route::PublicPort number);
  net::Task<> serve(route::PublicPort port, PublicConnection connection, Bytes begun);

  WorkerContext& context_;
  PublicListener& listener_;
  Carrier& carrier_;
  std::map<route::PublicPort, std::unique_ptr<Port>> ports_;
  bool is_closed_ = false;
};

}  // namespace culvert::edge
