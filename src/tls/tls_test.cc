#include "tls/tls.h"

#include <gmock/gmock.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "net/testing.h"
#include "tls/detached_stream.h"
#include "tls/stream.h"

namespace culvert::tls {
namespace {

using namespace net::testing;
using ::testing::HasSubstr;
using StreamPtr = std::unique_ptr<net::ByteStream>;

SecretKey test_key(uint8_t fill) {
  const Bytes seed(SecretKey::kSize, fill);
  return SecretKey::from_seed(seed).value();
}

std::unique_ptr<InternalCa> new_ca(InternalCa::Pem* out = nullptr) {
  const InternalCa::Pem pem = InternalCa::create("Culvert test CA", unix_now());
  if (out) *out = pem;
  return InternalCa::load(pem).value();
}

struct Outcome {
  Result<StreamPtr> server = fail(ErrorCode::kIo, "not run");
  Result<StreamPtr> client = fail(ErrorCode::kIo, "not run");
};

// Both handshakes, at once on one loop.
Outcome shake(net::EventLoop& loop, StreamPtr server, StreamPtr client, IdentityPtr identity,
              std::string name, ClientTrust trust, Bytes received = {}, std::vector<std::string> alpn = {}) {
  net::TaskGroup tasks(loop);
  std::optional<Result<StreamPtr>> accepted, connected;
  tasks.spawn(keep_result(
      accept(std::move(server), std::move(received), std::move(identity), std::move(alpn), soon()),
      accepted));
  tasks.spawn(keep_result(connect(std::move(client), std::move(name), std::move(trust), soon()), connected));
  run_until(loop, [&] { return tasks.size() == 0; });
  return {.server = std::move(*accepted), .client = std::move(*connected)};
}

Outcome shake(net::EventLoop& loop, IdentityPtr identity, std::string name, ClientTrust trust) {
  TcpPair tcp(loop);
  return shake(loop, std::move(tcp.server), std::move(tcp.client), std::move(identity), std::move(name),
               std::move(trust));
}

ClientTrust roots(const std::string& pem) { return {.pinned_key = std::nullopt, .root_pem = pem}; }
ClientTrust pinned(const SecretKey& key) { return {.pinned_key = key.public_key(), .root_pem = {}}; }

IdentityPtr self_signed(const SecretKey& key) {
  return self_signed_identity(key, key.public_key().tls_name(), unix_now()).value();
}

// An established connection for tests about what follows.
struct TlsPair {
  explicit TlsPair(net::EventLoop& loop) {
    const SecretKey key = test_key(1);
    auto outcome = shake(loop, self_signed(key), key.public_key().tls_name(), pinned(key));
    client = std::move(outcome.client).value();
    server = std::move(outcome.server).value();
  }

  StreamPtr client, server;
};

std::string read_text(net::EventLoop& loop, net::ByteStream& stream) {
  Bytes buffer(1000);
  const auto got = run_task(loop, read_some(stream, buffer, soon()));
  return got ? std::string(as_text(ByteView(buffer).first(*got))) : got.error().message;
}

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

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
  auto transport = net::make_tcp_stream(loop, run_task(loop, listener->accept()).value());
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

TEST(Tls, InternalCaIsBelievedByItsRoot) {
  net::EventLoop loop;
  const auto ca = new_ca();
  struct Case {
    const char *issued, *asked;
  };
  for (const Case& names :
       {Case{"app.example.com", "app.example.com"},
        {"*.example.com", "x.example.com"},
        {"127.0.0.1", "127.0.0.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"a-name-that-does-not-fit-into-the-common-name-because-it-has.far-too-many.letters.example",
         "a-name-that-does-not-fit-into-the-common-name-because-it-has.far-too-many.letters.example"}}) {
    auto outcome =
        shake(loop, ca->issue(names.issued, unix_now()).value(), names.asked, roots(ca->certificate_pem()));
    ASSERT_TRUE(outcome.client) << outcome.client.error().message;
    ASSERT_TRUE(outcome.server) << outcome.server.error().message;
    ASSERT_TRUE(run_task(loop, write_all(**outcome.client, as_bytes("ping"), soon())));
    EXPECT_EQ(read_text(loop, **outcome.server), "ping");
    ASSERT_TRUE(run_task(loop, write_all(**outcome.server, as_bytes("pong"), soon())));
    EXPECT_EQ(read_text(loop, **outcome.client), "pong");
  }
}

TEST(Tls, WrongServersAreRefused) {
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

TEST(Tls, UnusableTrustIsInvalid) {
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

TEST(Tls, PinnedKeyIsAllThatIsChecked) {
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

TEST(Tls, WrongPinIsRefusedAndBothKeysAreNamed) {
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

TEST(Tls, CertificateDates) {
  const UnixTime now = unix_now();
  EXPECT_EQ(not_after(*new_ca()->issue("a.test", now).value()),
            now - std::chrono::hours(1) + std::chrono::days(90));
  const auto ten_years = not_after(*self_signed_identity(test_key(1), "a.test", now).value()) - now;
  EXPECT_GE(ten_years, std::chrono::days(3650));
  auto late = new_ca()->issue("a.test", now + std::chrono::days(4000));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kInvalid);
}

TEST(Tls, OnlyNamesAreCertified) {
  const auto ca = new_ca();
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("A.test"), std::string("*."), std::string("*"),
        std::string("a..b"), std::string(".a"), std::string("a."), std::string("a.*.b"),
        std::string("a,IP:1.2.3.4"), std::string("a\0b", 3), std::string("1.2.3.4\0", 8), std::string("a/b"),
        std::string(64, 'a') + ".test", std::string("a.") + std::string(260, 'b'), std::string("[::1]")}) {
    for (const auto& made :
         {ca->issue(name, unix_now()), self_signed_identity(test_key(1), name, unix_now())}) {
      ASSERT_FALSE(made) << name;
      EXPECT_EQ(made.error().code, ErrorCode::kInvalid);
    }
  }
}

TEST(Tls, ACertificateMadeAgainFromItsKeyIsAsGoodAsTheLostOne) {
  InternalCa::Pem first;
  const auto ca = new_ca(&first);
  const auto pem = InternalCa::certify("Culvert test CA", first.private_key, unix_now());
  ASSERT_TRUE(pem) << pem.error().message;
  EXPECT_EQ(pem->private_key.expose(), first.private_key.expose());
  const auto again = InternalCa::load(*pem);
  ASSERT_TRUE(again) << again.error().message;
  net::EventLoop loop;
  EXPECT_TRUE(
      shake(loop, (*again)->issue("x.test", unix_now()).value(), "x.test", roots(first.certificate)).client);
  EXPECT_TRUE(shake(loop, ca->issue("x.test", unix_now()).value(), "x.test", roots(pem->certificate)).client);
  EXPECT_FALSE(InternalCa::certify("Culvert test CA", "no key", unix_now()));
}

TEST(Tls, BrokenCaIsNamedByPart) {
  InternalCa::Pem pem, other;
  const auto ca = new_ca(&pem);
  new_ca(&other);
  const auto identity = ca->issue("a.test", unix_now()).value();
  const std::string leaf = pem_of(SSL_CTX_get0_certificate(identity->context()));
  const PkeyPtr key(EVP_EC_gen("P-256"));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  const std::string encrypted(data, static_cast<size_t>(size));
  struct Case {
    InternalCa::Pem pem;
    const char* what;
  };
  for (const Case& broken : {Case{{"", pem.private_key}, "certificate is not a PEM"},
                             {{pem.certificate.substr(0, 200), pem.private_key}, "certificate is not a PEM"},
                             {{pem.private_key.expose(), pem.private_key}, "certificate is not a PEM"},
                             {{leaf, pem.private_key}, "not that of a CA"},
                             {{pem.certificate, ""}, "private key is not"},
                             {{pem.certificate, SecretString(pem.certificate)}, "private key is not"},
                             {{pem.certificate, SecretString(encrypted)}, "private key is not"},
                             {{pem.certificate, other.private_key}, "do not belong together"}}) {
    auto loaded = InternalCa::load(broken.pem);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(loaded.error().message, HasSubstr(broken.what));
    EXPECT_THAT(loaded.error().message, Not(HasSubstr("PRIVATE")));
  }
  EXPECT_EQ(InternalCa::load(pem).value()->certificate_pem(), pem.certificate);
}

TEST(Tls, SerialsAreFreshAndPositive) {
  const auto ca = new_ca();
  std::vector<std::string> serials;
  for (int i = 0; i < 20; ++i) {
    const auto identity = ca->issue("a.test", unix_now()).value();
    const ASN1_INTEGER* serial = X509_get0_serialNumber(SSL_CTX_get0_certificate(identity->context()));
    EXPECT_EQ(ASN1_STRING_type(serial), V_ASN1_INTEGER);  // a negative one has another type
    EXPECT_LE(ASN1_STRING_length(serial), 16);
    serials.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                         static_cast<size_t>(ASN1_STRING_length(serial)));
  }
  std::ranges::sort(serials);
  EXPECT_EQ(std::ranges::adjacent_find(serials), serials.end());
}

TEST(Tls, OpensslAgreesStrictly) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl program";
  const auto ca = new_ca();
  char directory[] = "/tmp/culvert_tls_test_XXXXXX";
  ASSERT_TRUE(mkdtemp(directory));
  const std::string base = directory;
  std::ofstream(base + "/root.pem") << ca->certificate_pem();
  for (const char* name : {"a.test", "*.a.test", "10.0.0.1", "::1"}) {
    const auto identity = ca->issue(name, unix_now()).value();
    std::ofstream(base + "/leaf.pem") << pem_of(SSL_CTX_get0_certificate(identity->context()));
    const std::string verify = "openssl verify -x509_strict -purpose sslserver -CAfile " + base +
                               "/root.pem " + base + "/leaf.pem >/dev/null";
    EXPECT_EQ(std::system(verify.c_str()), 0) << name;
  }
  std::filesystem::remove_all(base);
}

TEST(Tls, HelloOneByteAtATimeAfterAPrefix) {
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

TEST(Tls, BytesReadBeforeAreServedFirst) {
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

TEST(Tls, GarbageIsInvalidAndAnsweredWithAnAlert) {
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

TEST(Tls, SilenceIsATimeoutAndClosesTheTransport) {
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

TEST(Tls, PeerThatLeavesDuringTheHandshakeIsAReset) {
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

TEST(Tls, AlpnTakesOurFirstThatIsOffered) {
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

TEST(Tls, WithoutCommonAlpnOnlyAClientOfHttp2IsRefusedWhereItMayBeServed) {
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

TEST(Tls, VersionsBelow12AreRefused) {
  const auto new_enough = accept_foreign(TLS1_2_VERSION, "", {});
  EXPECT_TRUE(new_enough.connected);
  EXPECT_TRUE(new_enough.server);
  EXPECT_EQ(new_enough.version, TLS1_2_VERSION);
  const auto old = accept_foreign(TLS1_1_VERSION, "", {});
  EXPECT_FALSE(old.connected);
  ASSERT_FALSE(old.server);
  EXPECT_EQ(old.server.error().code, ErrorCode::kInvalid);
}

net::Task<> write_then_finish(net::ByteStream& stream, const Bytes& data, Result<>& out) {
  out = co_await write_all(stream, data, soon());
  if (!out) co_return;
  out = co_await finish(stream, soon());
}

TEST(Stream, BulkBothWaysThroughSlowReadersAndHalfClose) {
  net::EventLoop loop;
  TlsPair pair(loop);
  Bytes data(8 << 20);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 37 + i / 1021);
  net::TaskGroup tasks(loop);
  Result<> up, down;
  tasks.spawn(write_then_finish(*pair.client, data, up));
  drain(loop);
  const auto read_all = [](net::ByteStream& stream, Bytes& all) -> net::Task<> {
    Bytes buffer(3001);
    for (;;) {
      const auto got = co_await read_some(stream, buffer, soon());
      EXPECT_TRUE(got);
      if (!got || *got == 0) co_return;
      all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*got));
      if (all.size() % 50 == 0) co_await sleep_for(stream.loop(), 1ms);
    }
  };
  Bytes at_server, at_client;
  tasks.spawn(read_all(*pair.server, at_server));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(up);
  EXPECT_TRUE(at_server == data);
  // The client has finished; the other direction lives on.
  tasks.spawn(write_then_finish(*pair.server, data, down));
  tasks.spawn(read_all(*pair.client, at_client));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(down);
  EXPECT_TRUE(at_client == data);
  EXPECT_EQ(pair.client->try_write(data).status, net::IoStatus::kError);
}

TEST(Stream, TruncationIsNotTheEnd) {
  net::EventLoop loop;
  for (const int how : {0, 1, 2}) {
    TlsPair pair(loop);
    ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("most of it"), soon())));
    if (how == 0) pair.client->close();
    if (how == 1) pair.client->reset();
    if (how == 2) static_cast<Stream&>(*pair.client).transport().try_finish();
    Bytes buffer(100);
    auto got = run_task(loop, read_some(*pair.server, buffer, soon()));
    if (got) {
      EXPECT_EQ(*got, 10u);
      got = run_task(loop, read_some(*pair.server, buffer, soon()));
    }
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kReset);
    if (how == 2) EXPECT_THAT(got.error().message, HasSubstr("close_notify"));
    EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kError);
  }
}

TEST(Stream, GarbageInTheStreamIsAnError) {
  net::EventLoop loop;
  TlsPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(static_cast<Stream&>(*pair.client).transport(),
                                       as_bytes("not a record at all"), soon())));
  Bytes buffer(100);
  auto got = run_task(loop, read_some(*pair.server, buffer, soon()));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kReset);
  EXPECT_THAT(got.error().message, HasSubstr("wrong version"));
  EXPECT_EQ(pair.server->try_write(buffer).status, net::IoStatus::kError);
  EXPECT_EQ(pair.server->try_finish().status, net::IoStatus::kError);
}

TEST(Stream, BytesInsideOpensslAreReadable) {
  net::EventLoop loop;
  TlsPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("abc"), soon())));
  for (const char expected : {'a', 'b', 'c'}) {
    Bytes one(1);
    ASSERT_TRUE(run_task(loop, read_some(*pair.server, one, soon())));
    EXPECT_EQ(one[0], expected);
    if (expected == 'c') break;
    bool ready = false;
    pair.server->when_readable([&] { ready = true; });
    EXPECT_FALSE(ready);
    run_until(loop, [&] { return ready; });
  }
}

TEST(Stream, HalfARecordDoesNotSpin) {
  net::EventLoop loop;
  const SecretKey key = test_key(3);
  TcpPair near(loop), far(loop);
  net::TaskGroup tasks(loop);
  std::optional<Result<StreamPtr>> accepted, connected;
  tasks.spawn(keep_result(accept(std::move(far.server), {}, self_signed(key), {}, soon()), accepted));
  tasks.spawn(keep_result(connect(std::move(near.client), "x.test", pinned(key), soon()), connected));
  Bytes buffer(65536);
  const auto relay = [&](net::ByteStream& from, net::ByteStream& to, size_t keep_back) {
    const net::IoResult got = from.try_read(buffer);
    if (got.status != net::IoStatus::kOk) return;
    EXPECT_EQ(to.try_write(ByteView(buffer).first(got.bytes - keep_back)).bytes, got.bytes - keep_back);
  };
  run_until(loop, [&] {
    relay(*near.server, *far.client, 0);
    relay(*far.client, *near.server, 0);
    return accepted && connected;
  });
  net::ByteStream& server = ***accepted;
  ASSERT_TRUE(run_task(loop, write_all(***connected, Bytes(1000, 'x'), soon())));
  drain(loop);
  relay(*near.server, *far.client, 500);
  drain(loop);
  Bytes into(2000);
  EXPECT_EQ(server.try_read(into).status, net::IoStatus::kWantRead);
  bool ready = false;
  server.when_readable([&] { ready = true; });
  drain(loop);
  EXPECT_FALSE(ready);
  (*connected)->reset();
  near.server->close();
  far.client->close();
  run_until(loop, [&] { return ready; });
  EXPECT_EQ(server.try_read(into).status, net::IoStatus::kError);
}

// Fills the connection until the stream refuses for good; returns how many bytes it took.
size_t fill(net::ByteStream& stream, ByteView data) {
  size_t written = 0;
  for (int refused = 0; refused < 5;) {
    const net::IoResult put = stream.try_write(data);
    written += put.bytes;
    if (put.status == net::IoStatus::kOk) {
      refused = 0;
    } else {
      ++refused;
      drain(stream.loop());  // the kernel moves bytes from one buffer to the other
    }
  }
  return written;
}

TEST(Stream, AKeyUpdateThatCannotBeAnsweredYetBlocksNobody) {
  net::EventLoop loop;
  TlsPair pair(loop);
  // The client reads nothing but asks for new keys.
  const size_t written = fill(*pair.server, Bytes(16384, 'd'));
  auto& client = static_cast<Stream&>(*pair.client);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(client.try_write(as_bytes("u")).status, net::IoStatus::kOk);
  }
  EXPECT_EQ(read_text(loop, *pair.server), "uuu");
  Bytes buffer(65536);
  EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kWantRead);
  EXPECT_EQ(pair.server->try_write(buffer).status, net::IoStatus::kWantWrite);
  bool readable = false, writable = false;
  pair.server->when_readable([&] { readable = true; });
  pair.server->when_writable([&] { writable = true; });
  drain(loop);
  EXPECT_FALSE(writable);
  // What was accepted arrives although the server's owner does not call again.
  size_t read = 0;
  run_until(loop, [&] {
    for (net::IoResult got = client.try_read(buffer); got.status == net::IoStatus::kOk;
         got = client.try_read(buffer))
      read += got.bytes;
    return read == written;
  });
  EXPECT_TRUE(writable);
  EXPECT_FALSE(readable);
  ASSERT_EQ(pair.server->try_write(as_bytes("with new keys")).status, net::IoStatus::kOk);
  EXPECT_EQ(read_text(loop, client), "with new keys");
  ASSERT_EQ(client.try_write(as_bytes("bye")).status, net::IoStatus::kOk);
  run_until(loop, [&] { return readable; });
  EXPECT_EQ(read_text(loop, *pair.server), "bye");
}

TEST(Stream, AskingForKeysWithoutReadingEndsAtABound) {
  net::EventLoop loop;
  TlsPair pair(loop);
  fill(*pair.server, Bytes(16384, 'd'));
  auto& client = static_cast<Stream&>(*pair.client);
  Bytes buffer(65536);
  net::IoResult got{net::IoStatus::kOk};
  for (int i = 0; i < 10000 && got.status != net::IoStatus::kError; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(client.try_write(as_bytes("u")).status, net::IoStatus::kOk);
    got = pair.server->try_read(buffer);
  }
  EXPECT_EQ(got.status, net::IoStatus::kError);
  EXPECT_EQ(pair.server->last_error(), "the peer does not read");
}

TEST(Stream, FinishWaitsForWhatWasAccepted) {
  net::EventLoop loop;
  TlsPair pair(loop);
  const size_t written = fill(*pair.server, Bytes(16384, 'd'));
  EXPECT_EQ(pair.server->try_finish().status, net::IoStatus::kWantWrite);
  net::TaskGroup tasks(loop);
  std::optional<Result<>> finished;
  tasks.spawn(keep_result(finish(*pair.server, soon()), finished));
  Bytes buffer(65536);
  size_t read = 0;
  for (;;) {
    const auto got = run_task(loop, read_some(*pair.client, buffer, soon()));
    ASSERT_TRUE(got) << got.error().message;
    if (*got == 0) break;
    read += *got;
  }
  EXPECT_EQ(read, written);
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(*finished);
}

TEST(Stream, CloseRunsCallbacksDestructionDropsThem) {
  net::EventLoop loop;
  for (const bool destroy : {false, true}) {
    TlsPair pair(loop);
    Bytes buffer(65536);
    fill(*pair.server, buffer);
    int calls = 0;
    pair.server->when_readable([&] { ++calls; });
    pair.server->when_writable([&] { ++calls; });
    drain(loop);
    ASSERT_EQ(calls, 0);
    if (destroy) {
      pair.server.reset();
    } else {
      pair.server->close();
    }
    EXPECT_EQ(calls, 0);
    drain(loop);
    EXPECT_EQ(calls, destroy ? 0 : 2);
    if (!destroy) {
      EXPECT_FALSE(pair.server->is_open());
      EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kError);
    }
  }
}

TEST(Stream, MovesToAnotherLoopWithWhatIsBufferedInside) {
  net::EventLoop here, there;
  TlsPair pair(here);
  // The client sends two records in one go: OpenSSL reads both and is asked for the first only.
  ASSERT_TRUE(run_task(here, write_all(*pair.client, as_bytes("first"), soon())));
  ASSERT_TRUE(run_task(here, write_all(*pair.client, as_bytes("second"), soon())));
  Bytes buffer(5);
  EXPECT_EQ(run_task(here, read_some(*pair.server, buffer, soon())).value(), 5u);
  bool ran = false;
  pair.server->when_readable([&] { ran = true; });
  pair.server->when_writable([&] { ran = true; });
  DetachedStream leaving(std::move(pair.server));
  StreamPtr moved = std::move(leaving).attach(there);
  EXPECT_EQ(&moved->loop(), &there);
  buffer.resize(6);
  EXPECT_EQ(run_task(there, read_some(*moved, buffer, soon())).value(), 6u);
  EXPECT_EQ(as_text(buffer), "second");
  ASSERT_TRUE(run_task(there, write_all(*moved, as_bytes("answer"), soon())));
  ASSERT_TRUE(run_task(there, finish(*moved, soon())));
  EXPECT_EQ(run_task(here, read_some(*pair.client, buffer, soon())).value(), 6u);
  EXPECT_EQ(as_text(buffer), "answer");
  EXPECT_EQ(run_task(here, read_some(*pair.client, buffer, soon())).value(), 0u);
  EXPECT_FALSE(ran);
}

TEST(Stream, OneThatIsNeverAttachedIsClosed) {
  net::EventLoop loop;
  TlsPair pair(loop);
  {
    const DetachedStream lost(std::move(pair.server));
  }
  Bytes buffer(1);
  EXPECT_FALSE(run_task(loop, read_some(*pair.client, buffer, soon())));
}

TEST(Tls, AlertRecordIsOneAClientUnderstands) {
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
