#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/encoding.h"
#include "endpoint/endpoint.h"
#include "tls/tls.h"

// Tests only: a server and a client over real sockets on loopback.
namespace culvert::endpoint {

using namespace std::chrono_literals;
using net::Task;

constexpr const char* kAlpn = "echo/1";
constexpr const char* kOtherAlpn = "other-echo/1";

inline SecretKey key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }
inline TimePoint soon() { return monotonic_now() + 10s; }

// An X.509 certificate for a server name under a root of its own.
class Certificate {
 public:
  static constexpr const char* kServerName = "edge.example";

  explicit Certificate(const std::string& name = kServerName) : name_(name) {
    tls::InternalCa::Pem pem = tls::InternalCa::create("test", unix_now());
    std::unique_ptr<tls::InternalCa> authority = std::move(*tls::InternalCa::load(pem));
    identity_ = tls::to_der(**authority->issue(name, unix_now()));
    std::string text;
    std::istringstream lines(pem.certificate);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("-----")) text += line;
    }
    root_ = *from_base64(text);
  }

  quic::X509Identity x509() const { return *quic::X509Identity::from_der(identity_.chain, identity_.key); }
  quic::CertificateSource source() const {
    return [identity = x509()](std::string_view) { return identity; };
  }
  const tls::DerIdentity& identity() const { return identity_; }
  quic::X509Server server() const { return {name_, {root_}}; }
  quic::X509Server server(std::string name) const { return {std::move(name), {root_}}; }

 private:
  std::string name_;
  tls::DerIdentity identity_;
  Bytes root_;
};

class EndpointTest : public testing::Test {
 public:
  EndpointTest() {
    server_ = std::move(*Endpoint::bind(
        loop_, {.key = key(2), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .protocols = {{.alpn = kAlpn}}}));
    client_ = std::move(
        *Endpoint::bind(loop_, {.key = key(1), .bind = SocketAddr::v4({0, 0, 0, 0}, 0), .limits = {}}));
  }

  EndpointAddr server_addr(uint8_t fill = 2) {
    return {.id = key(fill).public_key(), .relay_urls = {}, .ip_addrs = {server_->local_addr()}};
  }

  // Runs one scenario to its end; the server echoes meanwhile.
  void run(Task<> scenario) {
    net::TaskGroup tasks(loop_);
    for (const std::string& alpn : served_) tasks.spawn(serve(tasks, alpn));
    tasks.spawn(finish(std::move(scenario)));
    loop_.run();
  }

  Task<> finish(Task<> scenario) {
    co_await std::move(scenario);
    client_->close(0, "done");
    server_->close(0, "done");
  }

  Task<> serve(net::TaskGroup& tasks, std::string alpn) {
    while (true) {
      Result<ConnectionPtr> connection = co_await server_->accept(alpn);
      if (!connection) co_return;
      accepted_.push_back(*connection);
      tasks.spawn(echo_streams(*connection, tasks));
      tasks.spawn(echo_datagrams(*connection));
    }
  }
  Task<> echo_streams(ConnectionPtr connection, net::TaskGroup& tasks) {
    while (true) {
      Result<StreamPtr> stream = co_await connection->accept_bidi();
      if (!stream) co_return;
      tasks.spawn(echo(*stream));
    }
  }
  Task<> echo(StreamPtr stream) {
    Bytes buffer(16 * 1024);
    while (true) {
      Result<size_t> count = co_await read_some(loop_, stream, buffer, soon());
      if (!count) co_return;
      if (*count == 0) break;
      Result<> wrote = co_await write_all(loop_, stream, ByteView(buffer).first(*count), soon());
      if (!wrote) co_return;
    }
    stream->finish();
  }
  Task<> echo_datagrams(ConnectionPtr connection) {
    while (true) {
      Result<Bytes> datagram = co_await connection->receive_datagram();
      if (!datagram) co_return;
      (void)connection->send_datagram(*datagram);
    }
  }

  Task<> write_and_finish(StreamPtr stream, Bytes data) {
    Result<> wrote = co_await write_all(loop_, stream, data, soon());
    EXPECT_TRUE(wrote.has_value());
    stream->finish();
  }
  Task<Bytes> read_to_end(StreamPtr stream) {
    Bytes all;
    Bytes buffer(64 * 1024);
    while (true) {
      Result<size_t> count = co_await read_some(loop_, stream, buffer, soon());
      EXPECT_TRUE(count.has_value());
      if (!count || *count == 0) co_return all;
      all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*count));
    }
  }

  // The server again, on all addresses of loopback and with more credentials.
  void serve_paths(const Certificate& certificate) {
    quic::Limits observing;
    observing.send_observed_addresses = true;
    serve_protocols({{.alpn = kAlpn},
                     {.alpn = kOtherAlpn},
                     {.alpn = "h3", .certificates = certificate.source(), .limits = observing}});
  }
  void serve_protocols(std::vector<quic::Protocol> protocols) {
    served_.clear();
    for (const quic::Protocol& protocol : protocols) served_.push_back(protocol.alpn);
    server_ = std::move(*Endpoint::bind(
        loop_, {.key = key(2), .bind = SocketAddr::v4({0, 0, 0, 0}, 0), .protocols = std::move(protocols)}));
    quic::Limits limits;
    limits.receive_observed_addresses = true;
    client_ = std::move(
        *Endpoint::bind(loop_, {.key = key(1), .bind = SocketAddr::v4({0, 0, 0, 0}, 0), .limits = limits}));
  }
  SocketAddr server_at(uint8_t last) {
    return SocketAddr::v4({127, 0, 0, last}, server_->local_addr().port());
  }
  Task<Result<ConnectionPtr>> dial_key(std::string alpn) {
    EndpointAddr addr{.id = key(2).public_key(), .relay_urls = {}, .ip_addrs = {server_at(1)}};
    Result<ConnectionPtr> connection = co_await client_->connect(std::move(addr), std::move(alpn), soon());
    co_return connection;
  }
  Task<Result<ConnectionPtr>> dial_name(quic::X509Server server, std::string alpn) {
    Result<ConnectionPtr> connection =
        co_await client_->connect(std::move(server), {server_at(1)}, std::move(alpn), soon());
    co_return connection;
  }

  // The next event of this kind. Fails when the connection ends before.
  Task<PathEvent> next(ConnectionPtr connection, PathEvent::Kind kind) {
    while (true) {
      Result<PathEvent> event = co_await connection->next_path_event();
      EXPECT_TRUE(event.has_value());
      if (!event || event->kind == kind) co_return event.value_or(PathEvent{.kind = kind});
    }
  }
  Task<bool> echoes(ConnectionPtr connection, std::string text) {
    Result<StreamPtr> stream = co_await connection->open_bidi();
    if (!stream) co_return false;
    (*stream)->write(as_bytes(text));
    (*stream)->finish();
    Bytes echoed = co_await read_to_end(*stream);
    co_return as_text(echoed) == text;
  }

  net::EventLoop loop_;
  std::unique_ptr<Endpoint> server_;
  std::unique_ptr<Endpoint> client_;
  std::vector<std::string> served_ = {kAlpn};  // protocols that are accepted and echoed
  std::vector<ConnectionPtr> accepted_;
};

}  // namespace culvert::endpoint
