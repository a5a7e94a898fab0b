#include "agent/services.h"

namespace culvert::agent {

Result<> load_origin_files(std::vector<Service>& services, UnixTime now) {
  for (Service& service : services) {
    auto loaded = origin::load_origin_files(service, now);
    if (!loaded) return loaded;
  }
  return {};
}

ServiceTable::ServiceTable(const std::vector<Service>& services) {
  for (const Service& service : services) by_name_.emplace(service.name(), &service);
}

const Service* ServiceTable::match(std::string_view authority, tunnel::StreamKind kind) const {
  if (kind == tunnel::StreamKind::kTcpPort || kind == tunnel::StreamKind::kUdpPort) {
    const auto protocol =
        kind == tunnel::StreamKind::kTcpPort ? route::PortProtocol::kTcp : route::PortProtocol::kUdp;
    const auto found = by_name_.find(origin::port_service_name(protocol, authority));
    return found == by_name_.end() ? nullptr : found->second;
  }
  auto found = by_name_.find(std::string(authority));
  if (found == by_name_.end()) {
    size_t dot = authority.find('.');
    if (dot == std::string_view::npos) return nullptr;
    found = by_name_.find(fmt::format("*{}", authority.substr(dot)));
  }
  // A challenge is for a service whose TLS is the origin's.
  if (kind == tunnel::StreamKind::kChallenge) kind = tunnel::StreamKind::kPassthrough;
  if (found == by_name_.end() || found->second->kind() != kind) return nullptr;
  return found->second;
}

}  // namespace culvert::agent
