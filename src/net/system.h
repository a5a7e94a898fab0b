#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "net/platform.h"

// The network of this host, as the kernel has it: what system_platform() gives. Inside net/ only.
namespace culvert::net {

class SharedSockets;

// `shared`: where the socket is listed, and where one for the address may be already.
Result<std::unique_ptr<TcpListener>> listen_on_system(EventLoop& loop, const SocketAddr& address,
                                                      const ListenOptions& options,
                                                      const std::shared_ptr<SharedSockets>& shared = nullptr);
std::unique_ptr<ConnectAttempt> connect_on_system(EventLoop& loop, const SocketAddr& address,
                                                  const ConnectOptions& options,
                                                  std::shared_ptr<Notify> changed);
Result<std::unique_ptr<ByteStream>> connect_unix_on_system(EventLoop& loop, const std::string& path);
Result<std::unique_ptr<NetworkWatch>> watch_system_network(EventLoop& loop, std::function<void()> on_change);
Result<SocketAddr> system_source_address_for(const SocketAddr& remote);
std::optional<size_t> system_path_mtu(const SocketAddr& remote);

}  // namespace culvert::net
