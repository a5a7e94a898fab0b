#include "hub/edge_sessions.h"

#include <utility>

#include "base/log.h"

namespace culvert::hub {
namespace {

// Of a snapshot in one write: the loop does other things in between.
constexpr size_t kPiece = 64 * 1024;

}  // namespace

struct EdgeSessions::Stream {
  explicit Stream(net::EventLoop& loop) : changed(loop) {}

  hubapi::RoutesVersion at;               // what its edge has
  std::optional<Duration> declare_again;  // to be told
  bool is_over = false;
  net::Notify changed;
};

net::Task<> EdgeSessions::stream(http::Exchange& exchange, EndpointId edge,
                                 std::optional<hubapi::HeldRoutes> held) {
  if (closed_) co_return;
  auto own = std::make_shared<Stream>(loop_);
  if (auto old = std::exchange(streams_[edge], own)) {
    old->is_over = true;
    old->changed.notify();
  }
  http::Headers headers;
  headers.add("Content-Type", std::string(hubapi::kRouteStreamType));
  auto sent = co_await exchange.send_head(200, std::move(headers), loop_.now() + kWriteTime);
  log_info("edge_following", "edge={} client={}", edge.short_text(), exchange.client.to_string());
  if (sent && !own->is_over) {
    if (held && held->at.epoch == publisher_.version().epoch && publisher_.after(held->at) != nullptr) {
      own->at = held->at;
    } else if (held && held->digest == publisher_.digest()) {
      own->at = publisher_.version();
      sent = co_await exchange.write(as_bytes(publisher_.seal_line()), loop_.now() + kWriteTime);
    } else {
      sent = co_await send_snapshot(exchange, *own);
    }
  }
  while (sent && !own->is_over) {
    sent = co_await send_changes(exchange, *own);
    if (!sent || own->is_over || own->at != publisher_.version() || own->declare_again) continue;
    const bool is_news = co_await own->changed.wait_until(loop_.now() + kAlive);
    if (is_news || own->is_over) continue;
    sent =
        co_await exchange.write(as_bytes(hubapi::encode(hubapi::Alive{}) + '\n'), loop_.now() + kWriteTime);
  }
  log_info("edge_not_following", "edge={} reason={}", edge.short_text(),
           culvert::quoted(sent ? "ended here" : sent.error().message));
  exchange.abort();
  const auto place = streams_.find(edge);
  if (place != streams_.end() && place->second == own) streams_.erase(place);
}

net::Task<Result<>> EdgeSessions::send_snapshot(http::Exchange& exchange, Stream& stream) {
  // As of now, whatever is published meanwhile.
  const route::SnapshotPtr routes = publisher_.routes();
  const std::string seal = publisher_.seal_line();
  stream.at = publisher_.version();
  std::string text = hubapi::encode(hubapi::SnapshotHead{routes->size()}) + '\n';
  for (const route::Route* route : routes->routes()) {
    text += hubapi::encode_route(*route);
    text += '\n';
    if (text.size() < kPiece) continue;
    auto sent = co_await exchange.write(as_bytes(text), loop_.now() + kWriteTime);
    if (!sent || stream.is_over) co_return sent;
    text.clear();
  }
  text += seal;
  co_return co_await exchange.write(as_bytes(text), loop_.now() + kWriteTime);
}

net::Task<Result<>> EdgeSessions::send_changes(http::Exchange& exchange, Stream& stream) {
  while (!stream.is_over) {
    if (const auto text = publisher_.after(stream.at)) {
      ++stream.at.version;
      auto sent = co_await exchange.write(as_bytes(*text), loop_.now() + kWriteTime);
      if (!sent) co_return sent;
    } else if (stream.at != publisher_.version()) {
      auto sent = co_await send_snapshot(exchange, stream);  // it fell behind
      if (!sent) co_return sent;
    } else if (const auto spread = std::exchange(stream.declare_again, std::nullopt)) {
      auto sent = co_await exchange.write(as_bytes(hubapi::encode(hubapi::DeclareAgain{*spread}) + '\n'),
                                          loop_.now() + kWriteTime);
      if (!sent) co_return sent;
    } else {
      break;
    }
  }
  co_return Result<>();
}

void EdgeSessions::published() {
  for (const auto& [edge, stream] : streams_) stream->changed.notify();
}

void EdgeSessions::declare_again(Duration spread) {
  for (const auto& [edge, stream] : streams_) {
    stream->declare_again = spread;
    stream->changed.notify();
  }
}

void EdgeSessions::end_stream(const EndpointId& edge) {
  const auto stream = streams_.find(edge);
  if (stream == streams_.end()) return;
  stream->second->is_over = true;
  stream->second->changed.notify();
}

void EdgeSessions::revoke(const EndpointId& edge) {
  end_stream(edge);
  if (const auto hearing = hearing_.find(edge); hearing != hearing_.end()) stop_hearing(hearing);
}

void EdgeSessions::close() {
  closed_ = true;
  silence_timer_.cancel();
  for (const auto& [edge, stream] : streams_) {
    stream->is_over = true;
    stream->changed.notify();
  }
}

EdgeSessions::State EdgeSessions::state_of(const EndpointId& edge) const {
  const auto hearing = hearing_.find(edge);
  return {streams_.contains(edge), hearing == hearing_.end() ? 0 : hearing->second.agents.size()};
}

Result<> EdgeSessions::report(const EndpointId& edge, const hubapi::TunnelReport& report) {
  auto hearing = hearing_.find(edge);
  if (report.number == 0) {
    if (hearing != hearing_.end()) stop_hearing(hearing);
    hearing =
        hearing_.emplace(edge, Hearing{.session = report.session, .next = 0, .reported = loop_.now()}).first;
    if (hearing_.size() == 1) look_for_silent();
  } else if (hearing == hearing_.end() || hearing->second.session != report.session ||
             hearing->second.next != report.number) {
    return fail(ErrorCode::kConflict, "the report does not follow the last one; begin another session");
  }
  Hearing& own = hearing->second;
  ++own.next;
  own.reported = loop_.now();
  const auto forget = [&](const EndpointId& agent) { return own.agents.erase(agent) > 0; };
  for (const EndpointId& agent : report.heard) {
    if (own.agents.insert(agent).second) leases_.begin_hearing(agent);
  }
  for (const EndpointId& agent : report.silent) {
    if (forget(agent)) leases_.end_hearing(agent, loop_.now(), loop_.now());
  }
  for (const EndpointId& agent : report.closed) {
    if (forget(agent)) leases_.end_hearing(agent, loop_.now(), loop_.now() + Leases::kReturnTime);
  }
  for (const EndpointId& agent : report.left) {
    if (forget(agent)) leases_.end_hearing(agent, loop_.now(), loop_.now());
    leases_.end_agent(agent);
  }
  return {};
}

void EdgeSessions::stop_hearing(std::map<EndpointId, Hearing>::iterator edge) {
  const auto agents = std::move(edge->second.agents);
  hearing_.erase(edge);
  for (const EndpointId& agent : agents)
    leases_.end_hearing(agent, loop_.now(), loop_.now() + Leases::kSilence);
}

void EdgeSessions::look_for_silent() {
  if (hearing_.empty()) return;
  for (auto edge = hearing_.begin(); edge != hearing_.end();) {
    const auto next = std::next(edge);
    if (edge->second.reported + kSilence <= loop_.now()) {
      log_warn(
          "edge_silent", "edge={} meaning={}", edge->first.short_text(),
          culvert::quoted("it has reported nothing for a while: its host hangs, or its reports are lost"));
      end_stream(edge->first);
      stop_hearing(edge);
    }
    edge = next;
  }
  silence_timer_.after(kSilence / 5, [this] { look_for_silent(); });
}

}  // namespace culvert::hub
