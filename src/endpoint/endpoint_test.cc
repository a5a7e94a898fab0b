// Endpoints over real sockets on loopback; what depends on the network's moods is in sim/quic_sim_test.cc.
#include "endpoint/endpoint.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "base/encoding.h"
#include "tls/tls.h"

namespace culvert::endpoint {
namespace {

using namespace std::chrono_literals;
using net::Task;

constexpr const char* kAlpn = "echo/1";
constexpr const char* kOtherAlpn = "other-echo/1";

SecretKey key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }
TimePoint soon() { return monotonic_now() + 10s; }

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

  // Runs one story to its end; the server echoes meanwhile.
  void run(Task<> story) {
    net::TaskGroup tasks(loop_);
    for (const std::string& alpn : served_) tasks.spawn(serve(tasks, alpn));
    tasks.spawn(finish(std::move(story)));
    loop_.run();
  }

  Task<> finish(Task<> story) {
    co_await std::move(story);
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

TEST_F(EndpointTest, EchoesStreamsAndDatagrams) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    EXPECT_TRUE(connection.has_value());
    if (!connection) co_return;
    EXPECT_EQ((*connection)->remote_id(), key(2).public_key());
    EXPECT_EQ((*connection)->alpn(), kAlpn);

    Bytes data(5'000'000);
    SeededRandom(1).fill(data);
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    net::TaskGroup writer(t->loop_);
    writer.spawn(t->write_and_finish(*stream, data));
    Bytes echoed = co_await t->read_to_end(*stream);
    co_await writer.join();
    EXPECT_TRUE(echoed == data);

    EXPECT_TRUE((*connection)->send_datagram(as_bytes("ping")).has_value());
    Result<Bytes> pong = co_await (*connection)->receive_datagram();
    EXPECT_TRUE(pong.has_value() && as_text(*pong) == "ping");
    EXPECT_GT((*connection)->path_stats().bytes_received, data.size());
  };
  run(story(this));
}

TEST_F(EndpointTest, RefusesAnotherKeyAndAnotherProtocol) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> wrong_key = co_await t->client_->connect(t->server_addr(9), kAlpn, soon());
    EXPECT_FALSE(wrong_key.has_value());
    if (!wrong_key) EXPECT_EQ(wrong_key.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> wrong_alpn = co_await t->client_->connect(t->server_addr(), "other/1", soon());
    EXPECT_FALSE(wrong_alpn.has_value());
    if (!wrong_alpn) {
      EXPECT_EQ(wrong_alpn.error().code, ErrorCode::kInvalid);
      EXPECT_NE(wrong_alpn.error().message.find("other/1"), std::string::npos);
    }
  };
  run(story(this));
}

TEST_F(EndpointTest, TimesOutWhereNobodyAnswersAndTakesTheAddressThatDoes) {
  auto story = [](EndpointTest* t) -> Task<> {
    EndpointAddr nobody = t->server_addr();
    nobody.ip_addrs = {SocketAddr::v4({127, 0, 0, 1}, 1)};
    Result<ConnectionPtr> none = co_await t->client_->connect(nobody, kAlpn, monotonic_now() + 200ms);
    EXPECT_FALSE(none.has_value());
    if (!none) EXPECT_EQ(none.error().code, ErrorCode::kTimeout);
    nobody.ip_addrs.push_back(t->server_->local_addr());
    Result<ConnectionPtr> one = co_await t->client_->connect(nobody, kAlpn, soon());
    EXPECT_TRUE(one.has_value());
    EndpointAddr empty = t->server_addr();
    empty.ip_addrs.clear();
    Result<ConnectionPtr> invalid = co_await t->client_->connect(empty, kAlpn, soon());
    EXPECT_EQ(invalid.error().code, ErrorCode::kInvalid);
  };
  run(story(this));
}

TEST_F(EndpointTest, RebindingMovesOpenConnections) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    (*stream)->write(as_bytes("before "));
    Bytes buffer(100);
    Result<size_t> first = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_TRUE(first.has_value());
    uint16_t old_port = t->client_->local_addr().port();
    EXPECT_TRUE(t->client_->rebind().has_value());
    EXPECT_NE(t->client_->local_addr().port(), old_port);
    (*stream)->write(as_bytes("after"));
    (*stream)->finish();
    Bytes rest = co_await t->read_to_end(*stream);
    EXPECT_EQ(as_text(rest), "after");
    EXPECT_EQ(t->accepted_[0]->path_stats().remote.port(), t->client_->local_addr().port());
  };
  run(story(this));
}

TEST_F(EndpointTest, CloseReachesEveryWaiter) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    (*stream)->write(as_bytes("x"));
    Bytes buffer(10);
    Result<size_t> echoed = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_TRUE(echoed.has_value());
    t->accepted_[0]->close(7, "seven");
    CloseReason reason = co_await (*connection)->closed();
    EXPECT_EQ(reason.kind, CloseReason::Kind::kApplication);
    EXPECT_EQ(reason.code, 7u);
    Result<size_t> after = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_FALSE(after.has_value());
    Result<StreamPtr> none = co_await (*connection)->open_bidi();
    EXPECT_FALSE(none.has_value());
  };
  run(story(this));
}

TEST_F(EndpointTest, ConnectionsOutliveTheirEndpointHarmlessly) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    t->client_ = std::move(
        *Endpoint::bind(t->loop_, {.key = key(1), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .limits = {}}));
    EXPECT_FALSE((*connection)->is_open());
    EXPECT_EQ((*stream)->write(as_bytes("x")), 0u);
    EXPECT_EQ((*connection)->try_open_bidi(), nullptr);
    CloseReason reason = co_await (*connection)->closed();
    EXPECT_EQ(reason.kind, CloseReason::Kind::kLocal);
  };
  run(story(this));
}

TEST_F(EndpointTest, OneSocketServesKeysAndCertificates) {
  auto story = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> one = co_await t->dial_key(kAlpn);
    Result<ConnectionPtr> other = co_await t->dial_key(kOtherAlpn);
    Result<ConnectionPtr> named = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(one.has_value() && other.has_value() && named.has_value());
    if (!one || !other || !named) co_return;
    EXPECT_EQ((*one)->remote_id(), key(2).public_key());
    EXPECT_EQ((*named)->remote_id(), std::nullopt);
    // All at once, each after the others.
    for (int round = 0; round < 2; ++round) {
      for (ConnectionPtr connection : {*one, *other, *named}) {
        bool good = co_await t->echoes(connection, connection->alpn());
        EXPECT_TRUE(good) << connection->alpn();
      }
    }
    EXPECT_EQ(t->accepted_.size(), 3u);
    for (const ConnectionPtr& accepted : t->accepted_) {
      EXPECT_EQ(accepted->remote_id().has_value(), accepted->alpn() != "h3");
      EXPECT_EQ(accepted->path_stats().remote.port(), t->client_->local_addr().port());
    }
  };
  Certificate certificate;
  serve_paths(certificate);
  run(story(this, &certificate));
}

TEST_F(EndpointTest, CertificatesThatCannotBeUsedAreRefusedWithTheReason) {
  const tls::DerIdentity own = Certificate().identity();
  const tls::DerIdentity other = Certificate().identity();
  const Bytes junk(100, 0x30);
  Bytes cut = own.chain[0];
  cut.resize(cut.size() / 2);
  using Case = std::tuple<std::vector<Bytes>, Bytes, const char*>;
  for (const auto& [chain, key, reason] :
       {Case{{}, own.key, "no certificate"}, Case{{junk}, own.key, "certificate"},
        Case{{cut}, own.key, "certificate"}, Case{own.chain, junk, "key"}, Case{own.chain, {}, "key"},
        Case{own.chain, other.key, "key"}}) {
    Result<quic::X509Identity> identity = quic::X509Identity::from_der(chain, key);
    ASSERT_FALSE(identity.has_value()) << reason;
    EXPECT_EQ(identity.error().code, ErrorCode::kInvalid);
    EXPECT_NE(identity.error().message.find(reason), std::string::npos) << identity.error().message;
  }
  EXPECT_TRUE(quic::X509Identity::from_der(own.chain, own.key).has_value());
}

TEST_F(EndpointTest, CredentialsAreNotInterchangeable) {
  auto story = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> name = co_await t->dial_name(certificate->server("another.example"), "h3");
    EXPECT_EQ(name.error().code, ErrorCode::kUnauthorized) << name.error().message;
    Certificate stranger;
    Result<ConnectionPtr> root = co_await t->dial_name(stranger.server(), "h3");
    EXPECT_EQ(root.error().code, ErrorCode::kUnauthorized) << root.error().message;
    Result<ConnectionPtr> keyless = co_await t->dial_name(certificate->server(), kAlpn);
    EXPECT_EQ(keyless.error().code, ErrorCode::kUnauthorized) << keyless.error().message;
    Result<ConnectionPtr> keyed = co_await t->dial_key("h3");
    EXPECT_EQ(keyed.error().code, ErrorCode::kUnauthorized) << keyed.error().message;
    EXPECT_TRUE(t->accepted_.empty());
  };
  Certificate certificate;
  serve_paths(certificate);
  run(story(this, &certificate));
}

// Certificates by name, as they are now.
class ServerNames {
 public:
  void show(const std::string& name, const Certificate& certificate) {
    identities_.insert_or_assign(name, certificate.x509());
  }
  quic::CertificateSource source() {
    return [this](std::string_view name) -> std::optional<quic::X509Identity> {
      asked_.emplace_back(name);
      auto found = identities_.find(name);
      return found == identities_.end() ? std::nullopt : std::optional(found->second);
    };
  }
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  std::map<std::string, quic::X509Identity, std::less<>> identities_;
  std::vector<std::string> asked_;
};

TEST_F(EndpointTest, CertificatesAreChosenByNameAndMayChangeWhileItRuns) {
  auto story = [](EndpointTest* t, ServerNames* names) -> Task<> {
    Certificate one("one.example");
    Certificate two("two.example");
    names->show("one.example", one);
    names->show("two.example", two);
    std::vector<Result<ConnectionPtr>> kept;  // one that is closed at once may never be accepted
    for (const Certificate* each : {&one, &two}) {
      kept.push_back(co_await t->dial_name(each->server(), "h3"));
      EXPECT_TRUE(kept.back().has_value());
    }
    Result<ConnectionPtr> crossed = co_await t->dial_name(two.server("one.example"), "h3");
    EXPECT_EQ(crossed.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> unknown = co_await t->dial_name(one.server("three.example"), "h3");
    EXPECT_EQ(unknown.error().code, ErrorCode::kUnauthorized);

    Certificate renewed("one.example");
    names->show("one.example", renewed);
    Result<ConnectionPtr> old = co_await t->dial_name(one.server(), "h3");
    EXPECT_EQ(old.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> current = co_await t->dial_name(renewed.server(), "h3");
    EXPECT_TRUE(current.has_value());
    if (!current) co_return;
    bool good = co_await t->echoes(*current, "renewed");
    EXPECT_TRUE(good);
    EXPECT_EQ(t->accepted_.size(), 3u);
    const std::vector<std::string> expected = {"one.example",   "two.example", "one.example",
                                               "three.example", "one.example", "one.example"};
    EXPECT_EQ(names->asked(), expected);
  };
  ServerNames names;
  serve_protocols({{.alpn = kAlpn}, {.alpn = "h3", .certificates = names.source()}});
  run(story(this, &names));
}

TEST_F(EndpointTest, AProtocolWithCertificatesMayNeedAKeyAllTheSame) {
  auto story = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> keyless = co_await t->dial_name(certificate->server(), "vault/1");
    EXPECT_EQ(keyless.error().code, ErrorCode::kUnauthorized) << keyless.error().message;
    Result<ConnectionPtr> raw = co_await t->dial_key("vault/1");
    EXPECT_EQ(raw.error().code, ErrorCode::kUnauthorized) << raw.error().message;
    EXPECT_TRUE(t->accepted_.empty());

    quic::X509Server server = certificate->server();
    server.proves_key = true;
    Result<ConnectionPtr> keyed = co_await t->dial_name(server, "vault/1");
    EXPECT_TRUE(keyed.has_value());
    if (!keyed) co_return;
    bool good = co_await t->echoes(*keyed, "keyed");
    EXPECT_TRUE(good);
    EXPECT_EQ((*keyed)->remote_id(), std::nullopt);
    EXPECT_EQ(t->accepted_.back()->remote_id(), key(1).public_key());
    Result<ConnectionPtr> open = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(open.has_value());
    if (!open) co_return;
    good = co_await t->echoes(*open, "open");
    EXPECT_TRUE(good);
    EXPECT_EQ(t->accepted_.size(), 2u);
    EXPECT_EQ(t->accepted_.back()->remote_id(), std::nullopt);
  };
  Certificate certificate;
  serve_protocols({{.alpn = "vault/1", .certificates = certificate.source(), .needs_peer_key = true},
                   {.alpn = "h3", .certificates = certificate.source()}});
  run(story(this, &certificate));
}

TEST_F(EndpointTest, EachProtocolHasItsLimits) {
  auto story = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> narrow = co_await t->dial_key("narrow/1");
    Result<ConnectionPtr> wide = co_await t->dial_key("wide/1");
    Result<ConnectionPtr> h3 = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(narrow.has_value() && wide.has_value() && h3.has_value());
    if (!narrow || !wide || !h3) co_return;
    auto count = [](Connection& connection) {
      std::vector<StreamPtr> open;
      while (StreamPtr stream = connection.try_open_bidi()) open.push_back(stream);
      return open.size();
    };
    EXPECT_EQ(count(**narrow), 2u);
    EXPECT_EQ(count(**wide), 40u);
    EXPECT_EQ(count(**h3), 7u);
    EXPECT_EQ((*narrow)->max_datagram_size(), 0u);
    EXPECT_GT((*wide)->max_datagram_size(), 1000u);
  };
  Certificate certificate;
  auto limits = [](uint64_t streams, bool datagrams) {
    quic::Limits made;
    made.max_streams_bidi = streams;
    made.datagrams = datagrams;
    return made;
  };
  serve_protocols({{.alpn = "narrow/1", .limits = limits(2, false)},
                   {.alpn = "wide/1", .limits = limits(40, true)},
                   {.alpn = "h3", .certificates = certificate.source(), .limits = limits(7, true)}});
  run(story(this, &certificate));
}

TEST_F(EndpointTest, AFullQueueOfOneProtocolIsCountedAndLeavesTheOthersAlone) {
  auto story = [](EndpointTest* t) -> Task<> {
    constexpr size_t kTooMany = 5;
    std::vector<ConnectionPtr> flood;
    for (size_t i = 0; i < Endpoint::kMaxAccepted + kTooMany; ++i) {
      Result<ConnectionPtr> connection = co_await t->dial_key("flood/1");
      EXPECT_TRUE(connection.has_value());
      if (connection) flood.push_back(*connection);
    }
    for (size_t i = 0; i < kTooMany; ++i) {
      CloseReason reason = co_await flood[Endpoint::kMaxAccepted + i]->closed();
      EXPECT_EQ(reason.kind, CloseReason::Kind::kApplication);
    }
    Result<ConnectionPtr> calm = co_await t->dial_key("calm/1");
    EXPECT_TRUE(calm.has_value());
    if (!calm) co_return;
    bool good = co_await t->echoes(*calm, "calm");
    EXPECT_TRUE(good);
    Metrics metrics;
    t->server_->report(metrics);
    const std::string text = metrics.to_text();
    EXPECT_NE(text.find("culvert_quic_accept_queue_full_total{alpn=\"flood/1\"} 5"), std::string::npos);
    EXPECT_NE(text.find("culvert_quic_accept_queue_full_total{alpn=\"calm/1\"} 0"), std::string::npos);
    // And those that waited are still there.
    for (size_t i = 0; i < Endpoint::kMaxAccepted; ++i) {
      Result<ConnectionPtr> accepted = co_await t->server_->accept("flood/1");
      EXPECT_TRUE(accepted.has_value() && (*accepted)->is_open());
    }
    Result<ConnectionPtr> unknown = co_await t->server_->accept("unknown/1");
    EXPECT_EQ(unknown.error().code, ErrorCode::kInvalid);
  };
  serve_protocols({{.alpn = "flood/1"}, {.alpn = "calm/1"}});
  served_ = {"calm/1"};
  run(story(this));
}

TEST_F(EndpointTest, AServerSaysWhereItSeesAClient) {
  auto story = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(connection.has_value());
    if (!connection) co_return;
    PathEvent observed = co_await t->next(*connection, PathEvent::Kind::kObservedAddress);
    EXPECT_EQ(observed.address, SocketAddr::v4({127, 0, 0, 1}, t->client_->local_addr().port()));
  };
  Certificate certificate;
  serve_paths(certificate);
  run(story(this, &certificate));
}

TEST_F(EndpointTest, PathsAreOpenedRankedAndClosed) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> dialled = co_await t->dial_key(kAlpn);
    EXPECT_TRUE(dialled.has_value());
    if (!dialled) co_return;
    ConnectionPtr connection = *dialled;
    EXPECT_TRUE(connection->is_multipath());
    EXPECT_EQ(connection->paths().size(), 1u);
    // The first connection ids for further paths come after the handshake.
    bool good = co_await t->echoes(connection, "one path");
    EXPECT_TRUE(good);

    Result<PathId> second = connection->open_path(t->server_at(2), true);
    EXPECT_TRUE(second.has_value()) << second.error().message;
    if (!second) co_return;
    PathEvent established = co_await t->next(connection, PathEvent::Kind::kEstablished);
    EXPECT_EQ(established.path, *second);
    EXPECT_EQ(connection->path_stats().remote, t->server_at(1));
    EXPECT_TRUE(connection->set_backup(*second, false));
    EXPECT_TRUE(connection->set_backup(0, true));
    EXPECT_EQ(connection->path_stats().remote, t->server_at(2));
    EXPECT_TRUE(connection->set_path_timers(0, 30s, 5s));
    EXPECT_TRUE(connection->ping_path(0));
    good = co_await t->echoes(connection, "two paths");
    EXPECT_TRUE(good);

    EXPECT_TRUE(connection->close_path(0));
    PathEvent abandoned = co_await t->next(connection, PathEvent::Kind::kAbandoned);
    EXPECT_EQ(abandoned.path, 0u);
    EXPECT_FALSE(connection->close_path(*second)) << "the last path";
    good = co_await t->echoes(connection, "the other path");
    EXPECT_TRUE(good);

    connection->close(0, "done");
    EXPECT_TRUE(connection->paths().empty());
    EXPECT_EQ(connection->open_path(t->server_at(3), true).error().code, ErrorCode::kClosed);
    EXPECT_FALSE(connection->set_backup(*second, true));
  };
  serve_paths(Certificate());
  run(story(this));
}

TEST_F(EndpointTest, NatTraversalOpensAPathToACandidate) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> dialled = co_await t->dial_key(kAlpn);
    EXPECT_TRUE(dialled.has_value());
    if (!dialled) co_return;
    ConnectionPtr connection = *dialled;
    bool good = co_await t->echoes(connection, "x");
    EXPECT_TRUE(good);
    ConnectionPtr accepted = t->accepted_.at(0);
    EXPECT_EQ(accepted->punch().error().code, ErrorCode::kUnavailable) << "only clients start rounds";

    EXPECT_TRUE(accepted->add_candidate(t->server_at(3)));
    PathEvent added = co_await t->next(connection, PathEvent::Kind::kRemoteCandidateAdded);
    EXPECT_EQ(added.address, t->server_at(3));
    EXPECT_TRUE(connection->add_candidate(SocketAddr::v4({127, 0, 0, 1}, t->client_->local_addr().port())));
    Result<size_t> probed = connection->punch();
    EXPECT_EQ(probed.value_or(0), 1u);
    PathEvent established = co_await t->next(connection, PathEvent::Kind::kEstablished);
    std::vector<PathStats> paths = connection->paths();
    auto path = std::ranges::find(paths, established.path, &PathStats::id);
    EXPECT_TRUE(path != paths.end() && path->remote == t->server_at(3) && path->backup);

    EXPECT_TRUE(accepted->remove_candidate(t->server_at(3)));
    PathEvent removed = co_await t->next(connection, PathEvent::Kind::kRemoteCandidateRemoved);
    EXPECT_EQ(removed.address, t->server_at(3));
  };
  serve_paths(Certificate());
  run(story(this));
}

TEST_F(EndpointTest, PortsInUseAreNamed) {
  auto taken = Endpoint::bind(loop_, {.key = key(3), .bind = server_->local_addr(), .limits = {}});
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::kConflict);
  EXPECT_NE(taken.error().message.find(server_->local_addr().to_string()), std::string::npos);
}

}  // namespace
}  // namespace culvert::endpoint
