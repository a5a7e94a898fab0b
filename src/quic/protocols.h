#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "quic/protocol.h"

namespace culvert::quic {

namespace core {
struct EndpointConfig;
struct Transport;
}  // namespace core

core::Transport to_core(const Limits& limits);

// The protocols of a server, as the core knows them: one policy for each, and one for clients whose
// ClientHello comes in several packets, so that the first does not tell their protocol. Browsers do so, which
// have large post-quantum key shares. That policy is for all protocols that are like the most open one, with
// the strictest limits of these.
class Protocols {
 public:
  explicit Protocols(std::vector<Protocol> protocols);
  ~Protocols();
  Protocols(const Protocols&) = delete;

  bool empty() const { return protocols_.empty(); }
  // Sets what `config` says of policies. It is valid as long as this is.
  void describe(core::EndpointConfig& config);
  const Limits& limits(size_t policy) const;
  // Of all protocols.
  size_t max_udp_payload() const;

 private:
  struct Policy;
  void add_policy(std::vector<const Protocol*> protocols, const Limits& limits);

  const std::vector<Protocol> protocols_;
  std::vector<std::unique_ptr<Policy>> policies_;
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace culvert::quic
