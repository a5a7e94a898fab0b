#include <openssl/err.h>
#include <unistd.h>

#include <thread>

#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

// A client with what connect does not offer, on a thread of its own with a blocking socket.
class ForeignClient {
 public:
  ForeignClient(SocketAddr to, int max_version, std::string alpn_wire)
      : thread_([this, to, max_version, alpn_wire] {
          const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
          SSL_CTX_set_security_level(context.get(), 0);
          SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
          SSL_CTX_set_max_proto_version(context.get(), max_version);
          const SslPtr ssl(SSL_new(context.get()));
          if (!alpn_wire.empty()) {
            SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const uint8_t*>(alpn_wire.data()),
                                static_cast<unsigned>(alpn_wire.size()));
          }
          const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
          sockaddr_storage storage;
          const socklen_t length = to.to_sockaddr(storage);
          if (::connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) return;
          SSL_set_fd(ssl.get(), fd);
          ERR_clear_error();
          connected = SSL_connect(ssl.get()) == 1;
          if (!connected) error = take_openssl_error();
          const unsigned char* chosen = nullptr;
          unsigned int size = 0;
          SSL_get0_alpn_selected(ssl.get(), &chosen, &size);
          alpn.assign(reinterpret_cast<const char*>(chosen), size);
          version = SSL_version(ssl.get());
          if (connected) {
            // Waits for the other side to be done with its handshake.
            char byte;
            SSL_read(ssl.get(), &byte, 1);
          }
          ::close(fd);
        }) {}
  ~ForeignClient() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  bool connected = false;
  int version = 0;
  std::string alpn, error;

 private:
  std::thread thread_;
};

struct ForeignOutcome {
  Result<> server;
  bool connected;
  int version;
  std::string alpn, error;
};

ForeignOutcome accept_foreign(int max_version, std::string alpn_wire, std::vector<std::string> ours,
                              NoCommonAlpn no_common = NoCommonAlpn::kRefuse) {
  net::EventLoop loop;
  auto listener = net::TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  ForeignClient client(listener->local_addr(), max_version, std::move(alpn_wire));
  auto transport = run_task(loop, listener->accept()).value();
  auto identity = new_ca()->issue("x.test", unix_now()).value();
  Result<> server;
  {
    auto accepted =
        run_task(loop, accept(std::move(transport), {}, identity, std::move(ours), soon(), no_common));
    if (!accepted) server = std::unexpected(accepted.error());
  }
  client.join();
  return {server, client.connected, client.version, client.alpn, client.error};
}

TEST(Handshake, WrongServersAreRefused) {
  net::EventLoop loop;
  InternalCa::Pem other_pem;
  const auto ca = new_ca();
  const auto other = new_ca(&other_pem);
  const UnixTime now = unix_now();
  struct Case {
    IdentityPtr identity;
    const char* asked;
    std::string root;
    const char* reason;
  };
  const std::string root = ca->certificate_pem();
  for (const Case& wrong : {
           Case{ca->issue("a.test", now).value(), "b.test", root, "hostname mismatch"},
           {ca->issue("*.test", now).value(), "a.b.test", root, "hostname mismatch"},
           {ca->issue("127.0.0.1", now).value(), "127.0.0.2", root, "IP address mismatch"},
           {other->issue("a.test", now).value(), "a.test", root,
            "self-signed certificate in certificate chain"},
           {ca->issue("a.test", now - std::chrono::days(91)).value(), "a.test", root,
            "certificate has expired"},
           {ca->issue("a.test", now + std::chrono::days(1)).value(), "a.test", root, "not yet valid"},
       }) {
    auto outcome = shake(loop, wrong.identity, wrong.asked, roots(wrong.root));
    ASSERT_FALSE(outcome.client);
    EXPECT_EQ(outcome.client.error().code, ErrorCode::kUnauthorized) << outcome.client.error().message;
    EXPECT_THAT(outcome.client.error().message, HasSubstr(wrong.reason));
    EXPECT_THAT(outcome.client.error().message, HasSubstr(wrong.asked));
  }
}

TEST(Handshake, UnusableTrustIsInvalid) {
  net::EventLoop loop;
  const auto ca = new_ca();
  for (const auto& [root, name] : {std::pair<std::string, std::string>{"", "a.test"},
                                   {"garbage", "a.test"},
                                   {ca->certificate_pem(), ""}}) {
    TcpPair tcp(loop);
    auto connected = run_task(loop, connect(std::move(tcp.client), name, roots(root), soon()));
    ASSERT_FALSE(connected);
    EXPECT_EQ(connected.error().code, ErrorCode::kInvalid);
  }
}

TEST(Handshake, PinnedKeyIsAllThatIsChecked) {
  net::EventLoop loop;
  const SecretKey key = test_key(7);
  // Name and dates of the certificate play no part.
  auto identity = self_signed_identity(key, "old.test", unix_now() - std::chrono::days(9000)).value();
  for (const char* name : {"hub.example.com", "", "127.0.0.1"}) {
    auto outcome = shake(loop, identity, name, pinned(key));
    ASSERT_TRUE(outcome.client) << outcome.client.error().message;
    ASSERT_TRUE(outcome.server);
    const char* sni =
        SSL_get_servername(static_cast<Stream&>(**outcome.server).ssl(), TLSEXT_NAMETYPE_host_name);
    EXPECT_STREQ(sni ? sni : "", std::string_view(name) == "hub.example.com" ? name : "");
  }
}

TEST(Handshake, WrongPinIsRefusedAndBothKeysAreNamed) {
  net::EventLoop loop;
  const SecretKey key = test_key(7), expected = test_key(8);
  auto outcome = shake(loop, self_signed(key), "hub.test", pinned(expected));
  ASSERT_FALSE(outcome.client);
  EXPECT_EQ(outcome.client.error().code, ErrorCode::kUnauthorized);
  EXPECT_THAT(outcome.client.error().message, HasSubstr(key.public_key().to_string()));
  EXPECT_THAT(outcome.client.error().message, HasSubstr(expected.public_key().to_string()));
  ASSERT_FALSE(outcome.server);
  EXPECT_EQ(outcome.server.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(outcome.server.error().message, HasSubstr("alert"));
  // A certificate over another kind of key.
  auto other = shake(loop, new_ca()->issue("hub.test", unix_now()).value(), "hub.test", pinned(expected));
  ASSERT_FALSE(other.client);
  EXPECT_EQ(other.client.error().code, ErrorCode::kUnauthorized);
  EXPECT_THAT(other.client.error().message, HasSubstr("not an Ed25519 key"));
}

TEST(Handshake, HelloOneByteAtATimeAfterAPrefix) {
  net::EventLoop loop;
  const SecretKey key = test_key(3);
  TcpPair near(loop), far(loop);
  const Bytes relayed_first = {};
  net::TaskGroup relays(loop);
  const auto relay = [](net::ByteStream& from, net::ByteStream& to, size_t piece, bool& stop) -> net::Task<> {
    Bytes buffer(piece);
    for (;;) {
      auto got = co_await read_some(from, buffer, soon());
      if (!got || *got == 0 || stop) co_return;
      auto put = co_await write_all(to, ByteView(buffer).first(*got), soon());
      if (!put) co_return;
    }
  };
  bool stop = false;
  relays.spawn(relay(*near.server, *far.client, 1, stop));
  relays.spawn(relay(*far.client, *near.server, 1, stop));
  auto outcome =
      shake(loop, std::move(far.server), std::move(near.client), self_signed(key), "x.test", pinned(key));
  ASSERT_TRUE(outcome.client) << outcome.client.error().message;
  ASSERT_TRUE(outcome.server) << outcome.server.error().message;
  ASSERT_TRUE(run_task(loop, write_all(**outcome.client, as_bytes("slow but sure"), soon())));
  EXPECT_EQ(read_text(loop, **outcome.server), "slow but sure");
  stop = true;
  (*outcome.client)->close();
  (*outcome.server)->close();
  run_until(loop, [&] { return relays.size() == 0; });
}

TEST(Handshake, BytesReadBeforeAreServedFirst) {
  net::EventLoop loop;
  const SecretKey key = test_key(3);
  for (const size_t prefix : {size_t{1}, size_t{5}, size_t{100}, size_t{100000}}) {
    TcpPair tcp(loop);
    net::TaskGroup tasks(loop);
    std::optional<Result<StreamPtr>> connected;
    tasks.spawn(keep_result(connect(std::move(tcp.client), "x.test", pinned(key), soon()), connected));
    Bytes received(prefix);
    drain(loop);
    const auto got = run_task(loop, read_some(*tcp.server, received, soon()));
    received.resize(got.value());
    auto accepted = run_task(loop, accept(std::move(tcp.server), received, self_signed(key), {}, soon()));
    ASSERT_TRUE(accepted) << accepted.error().message;
    run_until(loop, [&] { return tasks.size() == 0; });
    ASSERT_TRUE(*connected);
    ASSERT_TRUE(run_task(loop, write_all(***connected, as_bytes("after"), soon())));
    EXPECT_EQ(read_text(loop, **accepted), "after");
  }
}

TEST(Handshake, GarbageIsInvalidAndAnsweredWithAnAlert) {
  net::EventLoop loop;
  for (const std::string& garbage :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string(200, '\xff'),
        std::string("\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9)}) {
    TcpPair tcp(loop);
    ASSERT_TRUE(run_task(loop, write_all(*tcp.client, as_bytes(garbage), soon())));
    auto accepted = run_task(loop, accept(std::move(tcp.server), {}, self_signed(test_key(1)), {}, soon()));
    ASSERT_FALSE(accepted);
    EXPECT_EQ(accepted.error().code, ErrorCode::kInvalid) << accepted.error().message;
    EXPECT_THAT(accepted.error().message, HasSubstr(tcp.client->local_addr().to_string()));
  }
}

TEST(Handshake, SilenceIsATimeoutAndClosesTheTransport) {
  net::EventLoop loop;
  TcpPair tcp(loop), other(loop);
  auto accepted =
      run_task(loop, accept(std::move(tcp.server), {}, self_signed(test_key(1)), {}, monotonic_now() + 10ms));
  ASSERT_FALSE(accepted);
  EXPECT_EQ(accepted.error().code, ErrorCode::kTimeout);
  Bytes buffer(10);
  EXPECT_EQ(run_task(loop, read_some(*tcp.client, buffer, soon())).value(), 0u);
  auto connected =
      run_task(loop, connect(std::move(other.client), "x.test", pinned(test_key(1)), monotonic_now() + 10ms));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, ErrorCode::kTimeout);
}

TEST(Handshake, PeerThatLeavesDuringTheHandshakeIsAReset) {
  net::EventLoop loop;
  for (const bool reset : {false, true}) {
    for (const char* sent : {"", "\x16\x03\x01"}) {
      TcpPair tcp(loop);
      if (*sent) ASSERT_TRUE(run_task(loop, write_all(*tcp.client, as_bytes(sent), soon())));
      if (reset) {
        tcp.client->reset();
      } else {
        tcp.client->close();
      }
      auto accepted = run_task(loop, accept(std::move(tcp.server), {}, self_signed(test_key(1)), {}, soon()));
      ASSERT_FALSE(accepted);
      EXPECT_EQ(accepted.error().code, ErrorCode::kReset) << accepted.error().message;
    }
  }
}

TEST(Handshake, AlpnTakesOurFirstThatIsOffered) {
  const auto both = accept_foreign(TLS1_3_VERSION, "\x08http/1.1\x02h2", {"h2", "http/1.1"});
  EXPECT_TRUE(both.connected);
  EXPECT_EQ(both.alpn, "h2");
  const auto one = accept_foreign(TLS1_3_VERSION, "\x08http/1.1\x02h2", {"foo", "http/1.1"});
  EXPECT_EQ(one.alpn, "http/1.1");
  const auto ignored = accept_foreign(TLS1_3_VERSION, "\x08http/1.1\x02h2", {});
  EXPECT_TRUE(ignored.connected);
  EXPECT_EQ(ignored.alpn, "");
  const auto none_offered = accept_foreign(TLS1_3_VERSION, "", {"h2"});
  EXPECT_TRUE(none_offered.connected);
  const auto no_overlap = accept_foreign(TLS1_3_VERSION,
                                         "\x03"
                                         "foo",
                                         {"h2"});
  EXPECT_FALSE(no_overlap.connected);
  EXPECT_THAT(no_overlap.error, HasSubstr("no application protocol"));
  ASSERT_FALSE(no_overlap.server);
  EXPECT_EQ(no_overlap.server.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(no_overlap.server.error().message, HasSubstr("no application protocol"));
}

TEST(Handshake, WithoutCommonAlpnOnlyAClientOfHttp2IsRefusedWhereItMayBeServed) {
  const std::vector<std::string> ours{"http/1.1", "http/1.0"};
  const auto offer = [&](std::string wire) {
    return accept_foreign(TLS1_3_VERSION, std::move(wire), ours, NoCommonAlpn::kServeUnlessH2);
  };
  EXPECT_EQ(offer("\x08http/1.0").alpn, "http/1.0");
  EXPECT_EQ(offer("\x08http/1.0\x08http/1.1").alpn, "http/1.1");
  for (const char* unknown : {"\x04smtp", "\x02h2\x04smtp", "\x04smtp\x02h2", "\x02h3"}) {
    const auto served = offer(unknown);
    EXPECT_TRUE(served.connected) << unknown << ": " << served.error;
    EXPECT_EQ(served.alpn, "") << unknown;
  }
  const auto h2 = offer("\x02h2");
  EXPECT_FALSE(h2.connected);
  EXPECT_THAT(h2.error, HasSubstr("no application protocol"));
}

TEST(Handshake, VersionsBelow12AreRefused) {
  const auto new_enough = accept_foreign(TLS1_2_VERSION, "", {});
  EXPECT_TRUE(new_enough.connected);
  EXPECT_TRUE(new_enough.server);
  EXPECT_EQ(new_enough.version, TLS1_2_VERSION);
  const auto old = accept_foreign(TLS1_1_VERSION, "", {});
  EXPECT_FALSE(old.connected);
  ASSERT_FALSE(old.server);
  EXPECT_EQ(old.server.error().code, ErrorCode::kInvalid);
}

TEST(Handshake, AlertRecordIsOneAClientUnderstands) {
  EXPECT_EQ(alert_record(Alert::kUnrecognizedName), (Bytes{21, 3, 3, 0, 2, 2, 112}));
  net::EventLoop loop;
  TcpPair tcp(loop);
  ASSERT_TRUE(run_task(loop, write_all(*tcp.server, alert_record(Alert::kUnrecognizedName), soon())));
  auto connected = run_task(loop, connect(std::move(tcp.client), "x.test", pinned(test_key(1)), soon()));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(connected.error().message, HasSubstr("unrecognized name"));
}

}  // namespace
}  // namespace culvert::tls
