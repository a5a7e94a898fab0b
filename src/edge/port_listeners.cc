#include "edge/port_listeners.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace culvert::edge {
namespace {

// Between two attempts to bind: what has the port may be a program that restarts, or one that stays.
constexpr Duration kFirstRetry = std::chrono::milliseconds(250);
constexpr Duration kLastRetry = std::chrono::seconds(10);

}  // namespace

bool PortListeners::is_ours(const route::PublicPort& port) const {
  return context_.shared.worker_of(port) == context_.index;
}

void PortListeners::follow(const route::Delta& changes) {
  if (is_draining_) return;
  for (const route::RouteId& removed : changes.removals) {
    const auto match = route::Match::parse(removed.text());
    if (match && match->port() != nullptr) follow_all(*match->port());
  }
  for (const route::Route& changed : changes.upserts) {
    if (changed.match.port() != nullptr) follow_all(*changed.match.port());
  }
}

void PortListeners::follow_all(const route::PublicPort& ports) {
  for (size_t i = 0; i < ports.size(); ++i) {
    if (is_ours(ports.at(i))) follow(ports.at(i));
  }
}

// A port that another route has now stays bound: a range that grows interrupts nothing.
void PortListeners::follow(const route::PublicPort& number) {
  if (context_.routes.current().match(number) == nullptr) return release(number);
  const auto known = ports_.find(number);
  if (known == ports_.end()) return open(number);
  if (known->second->udp) known->second->udp->follow();
}

void PortListeners::open(const route::PublicPort& number) {
  ports_.emplace(number, std::make_unique<Port>(context_.loop));
  bind(number);
}

Result<> PortListeners::listen(const route::PublicPort& number, Port& port) {
  const SocketAddr address = context_.shared.config.options.tcp_listen->with_port(number.number);
  if (number.protocol == route::PortProtocol::kUdp) {
    auto bound = UdpPort::bind(context_, udp_carrier_, number, address);
    if (!bound) return std::unexpected(bound.error());
    port.udp = std::move(*bound);
    return {};
  }
  auto bound = net::TcpListener::listen(context_.loop, address, {});
  if (!bound) return std::unexpected(bound.error());
  port.listener = std::move(*bound);
  context_.tasks.spawn(
      listener_.accept(port.listener, [this, number](PublicConnection connection, Bytes begun) {
        return serve(number, std::move(connection), std::move(begun));
      }));
  return {};
}

void PortListeners::bind(const route::PublicPort& number) {
  Port& port = *ports_.at(number);
  auto bound = listen(number, port);
  if (!bound) return failed(number, bound.error());
  count(context_.shared.counters.ports_open);
  log_info("port_opened", "port={} addr={}", number.text(),
           context_.shared.config.options.tcp_listen->with_port(number.number).to_string());
  if (!std::exchange(port.fault, {}).empty()) {
    clear_fault(number);
    context_.shared.tell_agents({number, true, ""});
  }
}

void PortListeners::failed(const route::PublicPort& number, const Error& error) {
  Port& port = *ports_.at(number);
  if (port.fault != error.message) {
    if (port.fault.empty()) count(context_.shared.counters.ports_failed);
    port.fault = error.message;
    context_.shared.port_faults.set(number, error.message);
    context_.shared.tell_agents({number, false, error.message});
    log_warn("port_failed", "port={} reason={} hint={}", number.text(), culvert::quoted(error.message),
             culvert::quoted("the edge tries again until the port is free or no route asks for it"));
  }
  port.wait = std::clamp(port.wait * 2, kFirstRetry, kLastRetry);
  port.retry.after(port.wait, [this, number] { bind(number); });
}

void PortListeners::clear_fault(const route::PublicPort& number) {
  context_.shared.port_faults.clear(number);
  context_.shared.counters.ports_failed.fetch_sub(1, std::memory_order_relaxed);
}

void PortListeners::release(route::PublicPort number) {
  const auto found = ports_.find(number);
  if (found == ports_.end()) return;
  const std::unique_ptr<Port> port = std::move(found->second);
  ports_.erase(found);
  if (!port->fault.empty()) clear_fault(number);
  if (!port->listener && !port->udp) return;
  if (port->listener) port->listener->close();
  context_.shared.counters.ports_open.fetch_sub(1, std::memory_order_relaxed);
  log_info("port_closed", "port={}", number.text());
}

void PortListeners::drain() {
  is_draining_ = true;
  for (auto at = ports_.begin(); at != ports_.end();) {
    const auto each = at++;
    if (each->second->udp) {
      each->second->udp->drain();
    } else {
      release(each->first);
    }
  }
}

void PortListeners::close() {
  is_draining_ = true;
  while (!ports_.empty()) release(ports_.begin()->first);
}

void PortListeners::take(const UdpBatch& replies) {
  const auto found = ports_.find(replies.port);
  if (found != ports_.end() && found->second->udp) found->second->udp->take(replies);
}

void PortListeners::tunnel_changed(uint64_t generation, bool has_ended) {
  for (const auto& [number, port] : ports_) {
    if (!port->udp) continue;
    if (has_ended) {
      port->udp->tunnel_ended(generation);
    } else {
      port->udp->tunnel_drains(generation);
    }
  }
}

net::Task<> PortListeners::serve(route::PublicPort port, PublicConnection connection, Bytes begun) {
  connection.port = port;
  connection.kind = tunnel::StreamKind::kTcpPort;
  connection.received = std::move(begun);
  return carrier_.give_to_agent(std::move(connection));
}

}  // namespace culvert::edge
