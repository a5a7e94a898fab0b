#pragma once
#include "hub/entries.h"
#include "hub/hub.h"
#include "net/event_loop.h"

namespace culvert::hub {

// Asks the DNS whether the holder of a hostname wants a tenant to have it: by a TXT record that names the
// tenant, or because the name leads to an edge, and nowhere else.
class DomainProof {
 public:
  // For all answers of one proof.
  static constexpr Duration kTime = std::chrono::seconds(5);
  // At one time: each has three questions under way at most.
  static constexpr size_t kMaxRunning = 16;

  // Both outlive it.
  DomainProof(net::EventLoop& loop, const Config& config) : loop_(loop), config_(config) {}

  // Errors: kUnauthorized, there is none, the message says how to make one; kUnavailable, the name servers do
  // not answer or too many are asked already.
  net::Task<Result<Entry::Proof>> find(PublicKey tenant, route::HostPattern hostname);

 private:
  net::Task<Result<bool>> names_tenant(PublicKey tenant, route::HostPattern hostname, TimePoint deadline);
  net::Task<bool> leads_to_an_edge(route::HostPattern hostname, TimePoint deadline);

  net::EventLoop& loop_;
  const Config& config_;
  size_t running_ = 0;
};

}  // namespace culvert::hub
