#include "hub/domain_proof.h"

#include <algorithm>

#include "base/host_port.h"
#include "hubapi/entry.h"
#include "net/resolver.h"

namespace culvert::hub {
namespace {

// Only addresses are compared.
constexpr uint16_t kPort = 443;

struct Count {
  explicit Count(size_t& counted) : value(counted) { ++value; }
  ~Count() { --value; }
  Count(const Count&) = delete;
  size_t& value;
};

// Complete: not to be looked for in the domains of the hub's own network.
std::string absolute(const std::string& name) { return name + "."; }

}  // namespace

net::Task<Result<Entry::Proof>> DomainProof::find(PublicKey tenant, route::HostPattern hostname) {
  if (running_ >= kMaxRunning)
    co_return fail(ErrorCode::kUnavailable, "too many hostnames are being proven; try again later");
  const Count running(running_);
  const TimePoint deadline = loop_.now() + kTime;
  auto is_named = co_await names_tenant(tenant, hostname, deadline);
  if (is_named && *is_named) co_return Entry::Proof::kTxt;
  // Any name below could lead elsewhere.
  if (!hostname.is_wildcard()) {
    const bool leads_here = co_await leads_to_an_edge(hostname, deadline);
    if (leads_here) co_return Entry::Proof::kAddress;
  }
  if (!is_named) co_return std::unexpected(is_named.error());
  co_return fail(ErrorCode::kUnauthorized,
                 "nothing proves that {} may be this tenant's; create the TXT record {} with the value {}{}",
                 hostname.text(), hubapi::challenge_name(hostname), hubapi::challenge_value(tenant),
                 hostname.is_wildcard() ? "" : ", or let the name lead to an edge");
}

net::Task<Result<bool>> DomainProof::names_tenant(PublicKey tenant, route::HostPattern hostname,
                                                  TimePoint deadline) {
  auto texts = co_await net::resolve_texts(loop_, hubapi::challenge_name(hostname), deadline);
  if (!texts) {
    co_return fail(ErrorCode::kUnavailable, "{}; try again when the name servers answer",
                   texts.error().message);
  }
  co_return std::ranges::find(*texts, hubapi::challenge_value(tenant)) != texts->end();
}

net::Task<bool> DomainProof::leads_to_an_edge(route::HostPattern hostname, TimePoint deadline) {
  const auto found = co_await net::resolve(loop_, absolute(hostname.text()), kPort, deadline);
  if (!found || found->empty()) co_return false;
  std::vector<HostPort> names;
  for (const hubapi::EdgeInfo& edge : config_.edges) {
    for (const std::string& address : edge.addresses) {
      if (auto parsed = parse_host_port(address)) names.push_back({parsed->host, kPort});
    }
  }
  const auto edges = co_await net::resolve_all(loop_, std::move(names), deadline);
  co_return std::ranges::all_of(*found, [&](const SocketAddr& address) {
    return std::ranges::any_of(
        edges, [&](const auto& each) { return each && std::ranges::find(*each, address) != each->end(); });
  });
}

}  // namespace culvert::hub
