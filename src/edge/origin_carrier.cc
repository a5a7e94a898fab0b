#include "edge/origin_carrier.h"

#include <utility>

#include "base/check.h"
#include "http/h1_codec.h"
#include "origin/challenge.h"
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

const StaticOriginPtr& OriginCarrier::begin(PublicConnection& connection) {
  connection.tried.push_back(connection.pick->generation);
  connection.pending.reset();
  connection.refused.reset();
  if (!connection.opened) connection.opened = context_.loop.now();
  return connection.pick->origin;
}

net::Task<OriginCarrier::Attempt> OriginCarrier::reach(PublicConnection connection, bool has_other) {
  const StaticOriginPtr origin = begin(connection);
  Bytes first, before_tls;
  if (origin->service.proxy_protocol) {
    auto encoded =
        origin::proxy_header(connection.client, connection.public_addr,
                             connection.port ? std::string() : connection.host, connection.proxy_tlvs);
    CHECK(encoded);  // a hostname fits
    first = std::move(*encoded);
  }
  if (origin->service.origin.tls) before_tls = std::exchange(first, {});
  const size_t header_size = first.size();
  first.insert(first.end(), connection.received.begin(), connection.received.end());
  ++reaching_;
  auto reached =
      co_await origin::reach(context_.loop, origin->service.origin, std::move(before_tls), !first.empty(),
                             context_.loop.now() + (has_other ? kNextOrigin : kOriginTimeout));
  --reaching_;
  observed(origin, reached.fault);
  if (reached.fault)
    connection.refused = OriginRefusal{code_of(reached.fault->kind), reached.fault->summary, true};
  co_return Attempt{std::move(connection), std::move(reached.stream), std::move(first), header_size};
}

net::Task<OriginCarrier::Answer> OriginCarrier::ask(PublicConnection connection) {
  const StaticOriginPtr origin = begin(connection);
  if (!origin->service.http_origin) {
    connection.refused = OriginRefusal{tunnel::kStreamUnknownService, "it takes no challenges here", true};
    co_return Answer{std::move(connection), std::nullopt};
  }
  http::H1Decoder decoder(http::H1Decoder::Role::kRequests);
  ByteView request(connection.received);
  CHECK(decoder.next(request) == http::H1Decoder::Event::kHead);  // as HttpListener has written it
  http::RequestHead& head = decoder.request();
  ++reaching_;
  auto response = co_await origin::ask_for_challenge(
      context_.loop, *origin->service.http_origin,
      {.method = std::move(head.method), .target = std::move(head.target), .host = connection.host},
      context_.loop.now() + kOriginTimeout);
  --reaching_;
  if (response) co_return Answer{std::move(connection), std::move(*response)};
  const bool is_late = response.error().code == ErrorCode::kTimeout;
  connection.refused =
      OriginRefusal{is_late ? tunnel::kStreamOriginTimeout : tunnel::kStreamOriginUnreachable,
                    is_late ? "it did not answer in time" : "it did not answer the challenge", true};
  co_return Answer{std::move(connection), std::nullopt};
}

void OriginCarrier::observed(const StaticOriginPtr& origin, const std::optional<origin::OriginFault>& fault) {
  const bool has_failed = fault.has_value();
  if (!has_failed && !origin->has_failed.load(std::memory_order_relaxed)) return;
  origin->has_failed.store(has_failed, std::memory_order_relaxed);
  context_.shared.origin_observed(origin, fault);
}

std::shared_ptr<tunnel::StreamPump> OriginCarrier::make_pump(
    Attempt& attempt, tunnel::MovedBytes::Several moved,
    std::move_only_function<void(tunnel::PumpResult)> on_done) {
  tunnel::StreamPump::Config config;
  config.client = std::move(attempt.connection.socket);
  config.origin = std::move(attempt.origin);
  config.scratch = scratch_;
  config.pipes = &pipes_;
  config.initial = std::move(attempt.first);
  config.limits = context_.shared.config.options.pump;
  config.budgets = attempt.connection.slot->budgets(context_.shared.bandwidth);
  config.moved = moved;
  config.on_done = std::move(on_done);
  return tunnel::StreamPump::create(std::move(config));
}

}  // namespace culvert::edge
