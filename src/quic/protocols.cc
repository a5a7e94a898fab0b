#include "quic/protocols.h"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>

#include "quic/core.h"

namespace culvert::quic {
namespace {

// RFC 9002, 6.2.2
constexpr uint64_t kInitialRttUs = 333'000;
// Beyond the eighth of the large window that must be read before it is announced.
constexpr uint64_t kWindowSlack = 64 * 1024;

uint64_t milliseconds(Duration duration) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

std::string_view text(const core::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

}  // namespace

core::Transport to_core(const Limits& limits) {
  return {.idle_timeout_ms = milliseconds(limits.idle_timeout),
          .keep_alive_ms = milliseconds(limits.keep_alive),
          .path_idle_timeout_ms = milliseconds(limits.path_idle_timeout),
          .path_keep_alive_ms = milliseconds(limits.path_keep_alive),
          .initial_rtt_us = kInitialRttUs,
          .initial_stream_window =
              std::max(limits.initial_stream_window, limits.max_stream_window / 8 + kWindowSlack),
          .stream_window = limits.max_stream_window,
          .receive_window = limits.unadmitted_window > 0 ? limits.unadmitted_window : UINT64_MAX,
          .max_streams_bidi = limits.max_streams_bidi,
          .max_streams_uni = limits.max_streams_uni,
          .datagram_receive_buffer = limits.datagrams ? limits.max_queued_datagram_bytes : 0,
          .datagram_send_buffer = limits.max_queued_datagram_bytes,
          .max_paths = limits.max_paths,
          .max_nat_candidates = limits.max_nat_candidates,
          .max_udp_payload = static_cast<uint16_t>(limits.max_udp_payload),
          .send_observed_addresses = limits.send_observed_addresses,
          .receive_observed_addresses = limits.receive_observed_addresses,
          .bbr = limits.congestion_control == CongestionControl::kBbr3};
}

struct Protocols::Policy {
  std::vector<const Protocol*> protocols;
  Limits limits;
  std::optional<X509Identity> shown;  // what find() returned last: the core refers to it until the next call

  // The core prefers the same: the first of ours that the client offers.
  static const core::X509Identity* find(void* context, core::Slice name, const core::Slice* offered,
                                        size_t count) {
    Policy& policy = *static_cast<Policy*>(context);
    const std::span<const core::Slice> alpns(offered, count);
    for (const Protocol* protocol : policy.protocols) {
      if (std::ranges::find(alpns, std::string_view(protocol->alpn), text) == alpns.end()) continue;
      policy.shown = protocol->certificates(text(name));
      return policy.shown ? policy.shown->core() : nullptr;
    }
    return nullptr;
  }
};

struct Protocols::Tables {
  std::vector<std::vector<core::Slice>> alpns;
  std::vector<core::Policy> policies;
};

Protocols::Protocols(std::vector<Protocol> protocols)
    : protocols_(std::move(protocols)), tables_(std::make_unique<Tables>()) {
  for (const Protocol& protocol : protocols_) add_policy({&protocol}, protocol.limits);
  if (protocols_.empty()) return;
  // Any peer may come without a key, so that is what clients with unknown protocols most likely are.
  auto openness = [](const Protocol& protocol) {
    return std::tuple(static_cast<bool>(protocol.certificates), !protocol.needs_peer_key);
  };
  const Protocol& most_open = *std::ranges::max_element(protocols_, {}, openness);
  std::vector<const Protocol*> alike;
  Limits limits = most_open.limits;
  for (const Protocol& protocol : protocols_) {
    if (openness(protocol) != openness(most_open)) continue;
    alike.push_back(&protocol);
    limits = strictest(limits, protocol.limits);
  }
  add_policy(std::move(alike), limits);
}

Protocols::~Protocols() = default;

void Protocols::add_policy(std::vector<const Protocol*> protocols, const Limits& limits) {
  policies_.push_back(std::make_unique<Policy>(std::move(protocols), limits, std::nullopt));
}

void Protocols::describe(core::EndpointConfig& config) {
  *tables_ = {};
  for (const std::unique_ptr<Policy>& policy : policies_) {
    std::vector<core::Slice>& alpns = tables_->alpns.emplace_back();
    for (const Protocol* protocol : policy->protocols) {
      alpns.push_back({reinterpret_cast<const uint8_t*>(protocol->alpn.data()), protocol->alpn.size()});
    }
    const Protocol& first = *policy->protocols.front();
    const bool shows_certificates = static_cast<bool>(first.certificates);
    tables_->policies.push_back(
        {.alpns = alpns.data(),
         .alpn_count = alpns.size(),
         .transport = to_core(policy->limits),
         .certificates = {.context = policy.get(), .find = shows_certificates ? &Policy::find : nullptr},
         .needs_peer_key = !shows_certificates || first.needs_peer_key});
  }
  config.policies = tables_->policies.data();
  config.policy_count = tables_->policies.size();
  config.fallback_policy = policies_.empty() ? 0 : policies_.size() - 1;
}

const Limits& Protocols::limits(size_t policy) const { return policies_.at(policy)->limits; }

size_t Protocols::max_udp_payload() const {
  size_t most = 0;
  for (const Protocol& protocol : protocols_) most = std::max(most, protocol.limits.max_udp_payload);
  return most;
}

}  // namespace culvert::quic
