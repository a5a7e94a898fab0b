#include "edge/origin_carrier.h"

#include <utility>

#include "base/check.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// For an origin to accept, and where there is another one, before that is tried.
constexpr Duration kOriginTimeout = std::chrono::seconds(10);
constexpr Duration kNextOrigin = std::chrono::seconds(2);

endpoint::AppCode code_of(origin::OriginFault::Kind kind) {
  switch (kind) {
    case origin::OriginFault::Kind::kTimeout:
      return tunnel::kStreamOriginTimeout;
    case origin::OriginFault::Kind::kNotTrusted:
      return tunnel::kStreamOriginUntrusted;
    case origin::OriginFault::Kind::kNotReached:
    case origin::OriginFault::Kind::kBadAnswer:
      break;
  }
  return tunnel::kStreamOriginUnreachable;
}

}  // namespace

net::Task<OriginCarrier::Attempt> OriginCarrier::reach(PublicConnection connection, bool has_other) {
  const StaticOriginPtr origin = connection.pick->origin;
  connection.tried.push_back(connection.pick->generation);
  connection.pending.reset();
  const TimePoint now = context_.loop.now();
  if (!connection.opened) connection.opened = now;
  Bytes first, before_tls;
  if (origin->service.proxy_protocol) {
    auto encoded = origin::proxy_header(connection.client, connection.public_addr,
                                        connection.port ? std::string() : connection.host);
    CHECK(encoded);  // a hostname fits
    first = std::move(*encoded);
  }
  if (origin->service.origin.tls) before_tls = std::exchange(first, {});
  const size_t header_size = first.size();
  first.insert(first.end(), connection.received.begin(), connection.received.end());
  ++reaching_;
  auto reached = co_await origin::reach(context_.loop, origin->service.origin, std::move(before_tls),
                                        !first.empty(), now + (has_other ? kNextOrigin : kOriginTimeout));
  --reaching_;
  observed(origin, reached.fault);
  connection.refused.reset();
  if (reached.fault)
    connection.refused = OriginRefusal{code_of(reached.fault->kind), reached.fault->summary, true};
  co_return Attempt{std::move(connection), std::move(reached.stream), std::move(first), header_size};
}

void OriginCarrier::observed(const StaticOriginPtr& origin, const std::optional<origin::OriginFault>& fault) {
  const bool has_failed = fault.has_value();
  if (!has_failed && !origin->has_failed.load(std::memory_order_relaxed)) return;
  origin->has_failed.store(has_failed, std::memory_order_relaxed);
  context_.shared.origin_observed(origin, fault);
}

std::shared_ptr<tunnel::StreamPump> OriginCarrier::make_pump(
    Attempt& attempt, tunnel::MovedBytes& moved, std::move_only_function<void(tunnel::PumpResult)> on_done) {
  tunnel::StreamPump::Config config;
  config.client = std::move(attempt.connection.socket);
  config.origin = std::move(attempt.origin);
  config.scratch = scratch_;
  config.pipes = &pipes_;
  config.initial = std::move(attempt.first);
  config.limits = context_.shared.config.options.pump;
  config.budgets = attempt.connection.slot->budgets(context_.shared.bandwidth);
  config.moved = &moved;
  config.on_done = std::move(on_done);
  return tunnel::StreamPump::create(std::move(config));
}

}  // namespace culvert::edge
