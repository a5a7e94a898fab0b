#include "agent/stream_server.h"

#include <array>
#include <utility>

#include "agent/challenge_forwarder.h"
#include "agent/http_tap.h"
#include "base/log.h"
#include "tunnel/protocol.h"

namespace culvert::agent {
namespace {

// The edge writes the header together with the stream's first packet; an edge of ours never takes longer.
constexpr Duration kHeaderDeadline = std::chrono::seconds(10);

// One read of an origin: four of the QUIC send buffer's chunks, small enough that an idle agent stays small.
constexpr size_t kScratch = 64 * 1024;

}  // namespace

StreamServer::StreamServer(net::EventLoop& loop, const Config& config, AgentObserver& observer,
                           Counters& counters, UdpServer& udp)
    : loop_(loop),
      config_(config),
      observer_(observer),
      counters_(counters),
      udp_(udp),
      table_(config.services),
      scratch_(kScratch) {
  for (const Service& service : config.services) origins_[&service];
}

void StreamServer::services_changed() {
  table_ = ServiceTable(config_.services);
  for (const Service& service : config_.services) origins_[&service];
}

net::Task<> StreamServer::serve(endpoint::StreamPtr stream, std::shared_ptr<tunnel::UdpChannels> channels,
                                EndpointId edge, bool is_trusted) {
  ++active_;
  ++counters_.streams_accepted;
  if (!is_trusted) {
    refuse(*stream, tunnel::kStreamUnknownService, counters_.refused_edge);
    co_return ended();
  }
  if (active_ > config_.options.max_streams) {
    refuse(*stream, tunnel::kStreamLimit, counters_.refused_limit);
    co_return ended();
  }
  auto accepted = co_await read_header(stream);
  if (!accepted) {
    if (accepted.error().code == ErrorCode::kInvalid && header_lines_.allow(loop_.now())) {
      log_warn("bad_stream_header", "edge={} reason={}", edge.short_text(), quoted(accepted.error().message));
    }
    refuse(*stream, tunnel::kStreamBadHeader, counters_.refused_header);
    co_return ended();
  }
  const tunnel::StreamHeader& header = accepted->header;
  const Service* service = table_.match(header.authority, header.kind);
  if (service == nullptr) {
    if (header_lines_.allow(loop_.now())) {
      log_warn("stream_refused", "edge={} service={} kind={} reason=\"no service of this agent\"",
               edge.short_text(), quoted(header.authority), tunnel::to_string(header.kind));
    }
    refuse(*stream, tunnel::kStreamUnknownService, counters_.refused_service);
    co_return ended();
  }
  if (header.kind == tunnel::StreamKind::kUdpPort) {
    udp_.serve(std::move(channels), std::move(stream), header, accepted->rest);
    co_return ended();
  }
  if (header.kind == tunnel::StreamKind::kChallenge) {
    co_await serve_challenge(std::move(stream), *service, header.authority, std::move(accepted->rest));
    co_return ended();
  }
  Bytes first;
  if (service->proxy_protocol) {
    // A service at a port has a name, which no client asked for.
    const bool has_host = header.kind != tunnel::StreamKind::kTcpPort;
    auto encoded = origin::proxy_header(header.client, header.public_addr,
                                        has_host ? header.authority : std::string(), header.proxy_tlvs);
    if (!encoded) {
      refuse(*stream, tunnel::kStreamBadHeader, counters_.refused_header);
      co_return ended();
    }
    first = std::move(*encoded);
  }
  // Where there is no TLS, the PROXY header and the client's first bytes leave as one segment.
  Bytes before_tls;
  if (service->origin.tls) before_tls = std::exchange(first, {});
  first.insert(first.end(), accepted->rest.begin(), accepted->rest.end());
  auto origin = co_await reach_origin(*service, std::move(before_tls), !first.empty());
  if (origin.fault) {
    refuse_unreached(*stream, origin.fault->kind);
    co_return ended();
  }

  if (!first.empty()) {
    auto written =
        co_await net::write_all(*origin.stream, first, loop_.now() + config_.options.origin_timeout);
    // An origin that takes nothing may have answered: the pump finds out.
    if (!written && written.error().code != ErrorCode::kReset) {
      refuse(*stream, tunnel::kStreamOriginReset, counters_.origin_lost);
      co_return ended();
    }
    if (written) {
      for (tunnel::MovedBytes* moved : {&counters_.moved, &origins_.at(service).moved})
        moved->add_to_socket(accepted->rest.size());
    }
  }
  start_pump(std::move(stream), std::move(origin.stream), *service, header, accepted->rest);
}

// Says nothing of the state of the service's own origin. The service outlives it.
net::Task<> StreamServer::serve_challenge(endpoint::StreamPtr stream, const Service& service,
                                          std::string host, Bytes begun) {
  if (!service.http_origin)
    co_return refuse(*stream, tunnel::kStreamUnknownService, counters_.refused_service);
  ChallengeForwarder forwarder{.loop = loop_,
                               .stream = stream,
                               .host = std::move(host),
                               .origin = *service.http_origin,
                               .patience = config_.options.origin_timeout};
  auto forwarded = co_await forwarder.run(std::move(begun));
  if (forwarded) {
    ++counters_.finished;
    co_return;
  }
  if (header_lines_.allow(loop_.now())) {
    log_warn(
        "challenge_not_answered", "service={} http_origin={} reason={} hint={}", quoted(service.name()),
        service.http_origin->to_string(), quoted(forwarded.error().message),
        quoted("set http_origin to where the origin answers challenges of its CA on plain HTTP, or to none"));
  }
  switch (forwarded.error().code) {
    case ErrorCode::kInvalid:
      co_return refuse(*stream, tunnel::kStreamBadHeader, counters_.refused_header);
    case ErrorCode::kTimeout:
      co_return refuse(*stream, tunnel::kStreamOriginTimeout, counters_.origin_timeout);
    default:
      co_return refuse(*stream, tunnel::kStreamOriginUnreachable, counters_.origin_unreachable);
  }
}

net::Task<Result<StreamServer::Accepted>> StreamServer::read_header(endpoint::StreamPtr stream) {
  TimePoint deadline = loop_.now() + kHeaderDeadline;
  Bytes received;
  std::array<uint8_t, 2048> chunk;
  while (true) {
    auto got = co_await endpoint::read_some(loop_, stream, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kInvalid, "the stream ended inside its header");
    received.insert(received.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(*got));
    auto decoded = tunnel::decode_stream_header(received);
    if (!decoded) co_return std::unexpected(decoded.error());
    if (!*decoded) continue;
    ByteView rest = ByteView(received).subspan((*decoded)->consumed);
    co_return Accepted{std::move((*decoded)->header), to_bytes(rest)};
  }
}

net::Task<origin::Reached> StreamServer::reach_origin(const Service& service, Bytes before_tls,
                                                      bool writes_at_once) {
  const TimePoint deadline = loop_.now() + config_.options.origin_timeout;
  auto origin = co_await reach(loop_, service.origin, std::move(before_tls), writes_at_once, deadline);
  OriginState& state = origins_.at(&service);
  state.fault = origin.fault;
  state.failed_at = loop_.now();
  if (!origin.fault) ++state.reached;
  if (stopping_) co_return origin;
  if (origin.fault && state.unreachable_lines.allow(loop_.now())) {
    const bool is_trusted = origin.fault->kind != OriginFault::Kind::kNotTrusted;
    log_warn(is_trusted ? "origin_unreachable" : "origin_not_trusted",
             "service={} origin={} reason={} hint={}", quoted(service.name()), service.origin.to_string(),
             quoted(origin.fault->reason), quoted(origin.fault->hint));
  }
  if (on_origin_) on_origin_(service, origin.fault);
  co_return origin;
}

std::optional<OriginFault> StreamServer::origin_fault(const Service& service) const {
  const OriginState& state = origins_.at(&service);
  const bool is_remembered = state.fault && loop_.now() - state.failed_at <= kFaultMemory;
  return is_remembered ? state.fault : std::nullopt;
}

void StreamServer::refuse_unreached(quic::Stream& stream, OriginFault::Kind kind) {
  switch (kind) {
    case OriginFault::Kind::kTimeout:
      return refuse(stream, tunnel::kStreamOriginTimeout, counters_.origin_timeout);
    case OriginFault::Kind::kNotTrusted:
      return refuse(stream, tunnel::kStreamOriginUntrusted, counters_.origin_not_trusted);
    case OriginFault::Kind::kNotReached:
    case OriginFault::Kind::kBadAnswer:
      return refuse(stream, tunnel::kStreamOriginUnreachable, counters_.origin_unreachable);
  }
}

void StreamServer::refuse(quic::Stream& stream, quic::AppCode code, uint64_t& counter) {
  ++counter;
  if (!stream.is_open()) return;
  stream.reset(code);
  stream.stop(code);
}

void StreamServer::start_pump(endpoint::StreamPtr stream, std::unique_ptr<net::ByteStream> origin,
                              const Service& service, const tunnel::StreamHeader& header, ByteView first) {
  auto first_bytes = std::make_shared<FirstBytes>(header.kind, service.proxy_protocol);
  std::shared_ptr<HttpTap> tap;
  if (header.kind == tunnel::StreamKind::kTerminate && observer_.wants_requests()) {
    tap = std::make_shared<HttpTap>(header.authority, [this](const RequestLine& line) {
      bool is_ours = !ignored_target_.empty() && line.target == ignored_target_;
      if (!is_ours) observer_.request(line);
    });
    tap->request_bytes(first, loop_.now());
  }

  tunnel::Pump::Config pump;
  pump.socket = std::move(origin);
  pump.stream = std::move(stream);
  pump.scratch = scratch_;
  pump.abort_code = tunnel::kStreamOriginReset;
  pump.keep_answer = true;
  pump.limits = config_.options.pump;
  OriginState& state = origins_.at(&service);
  pump.moved = {&counters_.moved, &state.moved};
  if (tap) pump.tap_to_socket = [this, tap](ByteView bytes) { tap->request_bytes(bytes, loop_.now()); };
  pump.tap_to_stream = [this, tap, first_bytes, &state](ByteView bytes) {
    if (first_bytes->is_empty()) ++state.answered;
    first_bytes->origin_bytes(bytes);
    if (tap) tap->response_bytes(bytes, loop_.now());
  };
  pump.on_done = [this, tap, first_bytes, served = &service](const tunnel::PumpResult& result) {
    if (tap) tap->closed(loop_.now());
    pump_ended(*served, *first_bytes, result);
    --connected_;
    --origins_.at(served).open;
    ended();
  };
  ++connected_;
  ++state.open;
  tunnel::Pump::create(std::move(pump))->start();
}

void StreamServer::pump_ended(const Service& service, const FirstBytes& first_bytes,
                              const tunnel::PumpResult& result) {
  counters_.count(result);
  const bool is_tls_refused = service.origin.tls && first_bytes.is_empty() && !result.socket_error.empty();
  if (is_tls_refused) return tls_refused(service, result.socket_error);
  bool origin_ended = result.end == tunnel::PumpEnd::kFinished || result.end == tunnel::PumpEnd::kSocketReset;
  auto refusal = first_bytes.verdict(origin_ended);
  if (!refusal || !origins_.at(&service).refusal_lines.allow(loop_.now())) return;
  log_warn("origin_refused_first_bytes", "service={} origin={} hint={}", quoted(service.name()),
           service.origin.to_string(), quoted(hint(*refusal)));
}

// In TLS 1.3 a client has ended its handshake before the server has seen its certificate, so a server that
// wants another answers the first bytes with an alert.
void StreamServer::tls_refused(const Service& service, const std::string& reason) {
  OriginState& state = origins_.at(&service);
  state.failed_at = loop_.now();
  state.fault =
      OriginFault{.kind = OriginFault::Kind::kNotReached,
                  .reason = fmt::format("it ended TLS without an answer: {}", reason),
                  .hint =
                      "if it wants a client certificate, give one that it accepts as origin_cert_file "
                      "and origin_key_file",
                  .summary = "it ended TLS without an answer"};
  if (!state.refusal_lines.allow(loop_.now())) return;
  log_warn("origin_refused_tls", "service={} origin={} reason={} hint={}", quoted(service.name()),
           service.origin.to_string(), quoted(state.fault->reason), quoted(state.fault->hint));
}

void StreamServer::ended() {
  --active_;
  if (on_ended_) on_ended_();
}

}  // namespace culvert::agent
