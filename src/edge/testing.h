#pragma once
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "edge/edge.h"
#include "endpoint/endpoint.h"
#include "net/testing.h"
#include "tls/tls.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"
#include "tunnel/udp_channel.h"

// For tests of edge: a hello by hand, a client, and an agent without origins.
namespace culvert::edge::testing {

using net::testing::Received;
using net::testing::run_until;
using net::testing::soon;

inline SecretKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

// A ClientHello in one TLS record; no name: without the server_name extension.
inline Bytes client_hello(std::string_view name) {
  ByteWriter extensions;
  if (!name.empty()) {
    extensions.u16(0);  // server_name
    extensions.u16(static_cast<uint16_t>(name.size() + 5));
    extensions.u16(static_cast<uint16_t>(name.size() + 3));
    extensions.u8(0);
    extensions.u16(static_cast<uint16_t>(name.size()));
    extensions.bytes(as_bytes(name));
  }
  ByteWriter body;
  body.u16(0x0303);
  body.bytes(Bytes(32, 7));
  body.u8(0);
  body.u16(2);
  body.u16(0x1301);
  body.u8(1);
  body.u8(0);
  body.u16(static_cast<uint16_t>(extensions.size()));
  body.bytes(extensions.view());
  ByteWriter record;
  record.u8(22);
  record.u16(0x0301);
  record.u16(static_cast<uint16_t>(body.size() + 4));
  record.u8(1);
  record.u24(static_cast<uint32_t>(body.size()));
  record.bytes(body.view());
  return record.take();
}

// A UDP channel of a fake agent: answers each datagram with the same.
class EchoChannel final : public tunnel::UdpChannel::Owner {
 public:
  struct Got {
    uint64_t flow;
    std::optional<tunnel::UdpClient> client;
    std::string payload;
  };
  EchoChannel(tunnel::UdpChannels& channels, endpoint::StreamPtr stream,
              const tunnel::StreamHeader& its_header)
      : header(its_header),
        channel(std::make_unique<tunnel::UdpChannel>(channels, std::move(stream),
                                                     tunnel::UdpChannel::Side::kAgent, *this)) {}

  void on_datagram(const tunnel::UdpDatagram& datagram) override {
    got.push_back({datagram.flow, datagram.client, std::string(as_text(datagram.payload))});
    if (!is_dumb) channel->send({.flow = datagram.flow, .payload = datagram.payload});
  }
  void on_forgotten(uint64_t) override {}
  void on_batch_end() override {}
  void on_ended() override { channel.reset(); }

  const tunnel::StreamHeader header;
  std::vector<Got> got;
  bool is_dumb = false;
  std::unique_ptr<tunnel::UdpChannel> channel;  // nullptr: it has ended
};

// An agent as the edge sees one. Echoes what follows the stream header, unless told to refuse.
class FakeAgent {
 public:
  // `max_streams`: so many connections at once it takes; not set: what endpoints take by default.
  FakeAgent(net::EventLoop& loop, uint8_t fill, std::optional<uint64_t> max_streams = std::nullopt)
      : loop_(loop), tasks_(loop) {
    endpoint::Config config{.key = key(fill), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .limits = {}};
    if (max_streams) config.limits.max_streams_bidi = *max_streams;
    endpoint_ = endpoint::Endpoint::bind(loop, config).value();
  }
  ~FakeAgent() {
    udp.clear();
    endpoint_->close(tunnel::kCloseProtocol, "test over");
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  EndpointId id() const { return endpoint_->id(); }

  void dial(SocketAddr edge, EndpointId edge_id) {
    tasks_.spawn(run({.id = edge_id, .relay_urls = {}, .ip_addrs = {edge}},
                     encode(tunnel::ControlMessage(tunnel::Hello{1, "test"}))));
  }
  // Says something else than a good hello.
  void dial_badly(SocketAddr edge, EndpointId edge_id, Bytes first_words) {
    tasks_.spawn(run({.id = edge_id, .relay_urls = {}, .ip_addrs = {edge}}, std::move(first_words)));
  }
  // Says nothing at all: not even its control stream is opened.
  void dial_silently(SocketAddr edge, EndpointId edge_id) {
    tasks_.spawn(be_silent({.id = edge_id, .relay_urls = {}, .ip_addrs = {edge}}));
  }
  // Something that the edge hears, as a keep-alive would be.
  void stir() { connection_->try_open_bidi()->write(as_bytes("x")); }
  // As much as the edge lets it send, on streams that the edge does not read.
  void flood() {
    for (int i = 0; i < 3; ++i) {
      endpoint::StreamPtr stream = connection_->try_open_bidi();
      if (!stream) return;
      flood_.push_back(stream);
      Bytes block(64 * 1024);
      while (stream->write(block) == block.size()) {
      }
    }
  }
  uint64_t bytes_sent() const { return connection_ ? connection_->path_stats().bytes_sent : 0; }
  void leave(endpoint::AppCode code) { connection_->close(code, "leaving"); }
  void say(const tunnel::ControlMessage& message) { EXPECT_TRUE(control_->send(message)); }
  bool drained() const {
    return std::ranges::any_of(heard, [](const tunnel::ControlMessage& message) {
      return std::holds_alternative<tunnel::Drained>(message);
    });
  }

  std::optional<endpoint::AppCode> refuse_with;  // reset each stream with this code after its header
  std::string greeting;                          // said by the agent as soon as it has the header
  bool dumb = false;                             // says nothing, reads nothing after the header

  std::vector<tunnel::ControlMessage> heard;
  std::optional<endpoint::CloseReason> closed;
  // In place of `closed` where the close came together with the end of the handshake.
  std::optional<Error> dial_error;
  std::vector<tunnel::StreamHeader> headers;
  Bytes after_header;  // of all streams, in order of arrival
  size_t resets_seen = 0;
  std::vector<std::unique_ptr<EchoChannel>> udp;
  bool dumb_udp = false;  // answers no datagram
  bool connected() const { return connection_ != nullptr; }
  bool welcome() const { return !heard.empty() && std::holds_alternative<tunnel::Welcome>(heard.front()); }

 private:
  net::Task<> run(endpoint::EndpointAddr address, Bytes first_words) {
    auto connection = co_await endpoint_->connect(address, tunnel::kTunnelAlpn, soon());
    if (!connection) {
      dial_error = connection.error();
      co_return;
    }
    connection_ = *connection;
    udp.clear();
    channels_.emplace(connection_, [] {});
    auto stream = co_await connection_->open_bidi();
    if (!stream) co_return;
    (void)co_await endpoint::write_all(loop_, *stream, first_words, soon());
    tasks_.spawn(serve_streams(connection_));
    tasks_.spawn(watch(connection_));
    auto control = std::make_shared<tunnel::ControlStream>(loop_, *stream);
    control_ = control;
    while (true) {
      auto message = co_await control->receive(TimePoint::max());
      if (!message) co_return;
      heard.push_back(*message);
    }
  }
  net::Task<> be_silent(endpoint::EndpointAddr address) {
    auto connection = co_await endpoint_->connect(address, tunnel::kTunnelAlpn, soon());
    if (!connection) co_return;
    connection_ = *connection;
    co_await watch(connection_);
  }
  net::Task<> watch(endpoint::ConnectionPtr connection) {
    auto reason = co_await connection->closed();
    closed = reason;
  }
  net::Task<> serve_streams(endpoint::ConnectionPtr connection) {
    while (true) {
      auto stream = co_await connection->accept_bidi();
      if (!stream) co_return;
      tasks_.spawn(serve(*stream));
    }
  }
  net::Task<> serve(endpoint::StreamPtr stream) {
    Bytes chunk(32 * 1024);
    Bytes head;
    while (true) {
      auto got = co_await endpoint::read_some(loop_, stream, chunk, soon());
      if (!got || *got == 0) co_return;
      head.insert(head.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(*got));
      auto decoded = tunnel::decode_stream_header(head);
      EXPECT_TRUE(decoded);
      if (!decoded) co_return;
      if (!*decoded) continue;
      headers.push_back((*decoded)->header);
      head.erase(head.begin(), head.begin() + static_cast<ptrdiff_t>((*decoded)->consumed));
      break;
    }
    if (refuse_with) {
      stream->reset(*refuse_with);
      stream->stop(*refuse_with);
      co_return;
    }
    if (headers.back().kind == tunnel::StreamKind::kUdpPort) {
      udp.push_back(std::make_unique<EchoChannel>(*channels_, stream, headers.back()));
      udp.back()->is_dumb = dumb_udp;
      udp.back()->channel->start(head);
      co_return;
    }
    if (!greeting.empty()) (void)co_await endpoint::write_all(loop_, stream, as_bytes(greeting), soon());
    while (true) {
      after_header.insert(after_header.end(), head.begin(), head.end());
      if (!dumb) (void)co_await endpoint::write_all(loop_, stream, head, soon());
      auto got = co_await endpoint::read_some(loop_, stream, chunk, soon());
      if (!got && got.error().code == ErrorCode::kReset) ++resets_seen;
      if (!got) co_return;
      if (*got == 0) break;
      head.assign(chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(*got));
    }
    stream->finish();
  }

  net::EventLoop& loop_;
  std::unique_ptr<endpoint::Endpoint> endpoint_;
  endpoint::ConnectionPtr connection_;
  std::optional<tunnel::UdpChannels> channels_;
  std::shared_ptr<tunnel::ControlStream> control_;
  std::vector<endpoint::StreamPtr> flood_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::edge::testing
