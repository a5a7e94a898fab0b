#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_X509(bio.get(), certificate), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string key_pem_of(EVP_PKEY* key, const char* password = nullptr) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, password ? EVP_aes_128_cbc() : nullptr, password,
                                          password ? 6 : 0, nullptr, nullptr),
            1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// What an identity consists of, as files would have it.
struct Pems {
  explicit Pems(const IdentityPtr& identity)
      : chain(pem_of(SSL_CTX_get0_certificate(identity->context()))),
        key(key_pem_of(SSL_CTX_get0_privatekey(identity->context()))) {}
  std::string chain, key;
};

struct Met {
  Result<StreamPtr> server = fail(ErrorCode::kIo, "not run");
  ClientResult client = {fail(ErrorCode::kIo, "not run")};
};

class ClientContextTest : public ::testing::Test {
 protected:
  IdentityPtr leaf(std::string_view name, Duration age = 0s) {
    return ca_->issue(name, now_ - std::chrono::duration_cast<std::chrono::seconds>(age)).value();
  }
  RootsPtr roots(const std::string& pem) { return load_roots(pem, now_).value(); }
  Met meet(IdentityPtr identity, const std::string& name, const ClientOptions& options,
           std::vector<std::string> alpn = {}) {
    TcpPair tcp(loop_);
    net::TaskGroup tasks(loop_);
    std::optional<Result<StreamPtr>> server;
    std::optional<ClientResult> client;
    tasks.spawn(
        keep_result(accept(std::move(tcp.server), {}, std::move(identity), std::move(alpn), soon()), server));
    tasks.spawn(
        keep_result(connect(std::move(tcp.client), name, make_client_context(options), soon()), client));
    run_until(loop_, [&] { return tasks.size() == 0; });
    return {std::move(*server), std::move(*client)};
  }
  void expect_mistrust(const Met& met, Mistrust kind, const std::string& reason) {
    ASSERT_FALSE(met.client.stream);
    EXPECT_EQ(met.client.stream.error().code, ErrorCode::kUnauthorized);
    EXPECT_EQ(met.client.mistrust, kind);
    EXPECT_THAT(met.client.stream.error().message, HasSubstr(reason));
  }

  net::EventLoop loop_;
  const UnixTime now_ = unix_now();
  std::unique_ptr<InternalCa> ca_ = new_ca();
};

TEST_F(ClientContextTest, AChainThatEndsInTheRootsIsTrusted) {
  for (const std::string name : {"a.test", "127.0.0.1"}) {
    Met met = meet(leaf(name), name, {.roots = roots(ca_->certificate_pem())});
    ASSERT_TRUE(met.client.stream) << met.client.stream.error().message;
    ASSERT_TRUE(met.server);
    EXPECT_TRUE(run_task(loop_, write_all(**met.client.stream, as_bytes("hello"), soon())));
    EXPECT_EQ(read_text(loop_, **met.server), "hello");
  }
}

TEST_F(ClientContextTest, SaysWhatIsWrongWithACertificate) {
  const ClientOptions trusting{.roots = roots(ca_->certificate_pem())};
  expect_mistrust(meet(leaf("a.test"), "b.test", trusting), Mistrust::kWrongName, "it is for a.test");
  expect_mistrust(meet(leaf("192.0.2.1"), "192.0.2.2", trusting), Mistrust::kWrongName,
                  "it is for 192.0.2.1");
  expect_mistrust(meet(leaf("2001:db8::1"), "2001:db8::2", trusting), Mistrust::kWrongName,
                  "it is for 2001:db8::1");
  expect_mistrust(meet(leaf("a.test", 24h * 91), "a.test", trusting), Mistrust::kExpired,
                  "certificate has expired (on 20");
  expect_mistrust(meet(leaf("a.test", -24h), "a.test", trusting), Mistrust::kNotYetValid, "(before 20");
  const auto other = new_ca();
  expect_mistrust(meet(other->issue("a.test", now_).value(), "a.test", trusting), Mistrust::kUnknownIssuer,
                  "self-signed certificate");
  expect_mistrust(meet(self_signed(test_key(1)), "a.test", trusting), Mistrust::kUnknownIssuer,
                  "self-signed");
}

TEST_F(ClientContextTest, TheSystemsRootsDoNotTrustAPrivateCa) {
  expect_mistrust(meet(leaf("a.test"), "a.test", {}), Mistrust::kUnknownIssuer, "self-signed certificate");
}

TEST_F(ClientContextTest, TheSystemsRootsAreWhereOpenSslLooks) {
  const std::string file = ::testing::TempDir() + "culvert-roots.pem";
  FILE* out = ::fopen(file.c_str(), "w");
  ASSERT_NE(out, nullptr);
  std::fputs(ca_->certificate_pem().c_str(), out);
  std::fclose(out);
  ::setenv("SSL_CERT_FILE", file.c_str(), 1);
  const Met met = meet(leaf("a.test"), "a.test", {});
  ::unsetenv("SSL_CERT_FILE");
  ::unlink(file.c_str());
  EXPECT_TRUE(met.client.stream) << met.client.stream.error().message;
}

TEST_F(ClientContextTest, AnInsecureClientTakesAnyCertificate) {
  for (const IdentityPtr& identity :
       {leaf("a.test", 24h * 91), leaf("other.test"), self_signed(test_key(1))}) {
    const Met met = meet(identity, "a.test", {.is_insecure = true});
    EXPECT_TRUE(met.client.stream) << met.client.stream.error().message;
  }
}

TEST_F(ClientContextTest, OffersItsProtocols) {
  Met met = meet(leaf("a.test"), "a.test", {.is_insecure = true, .alpn = {"h2", "http/1.1"}}, {"http/1.1"});
  ASSERT_TRUE(met.client.stream);
  met = meet(leaf("a.test"), "a.test", {.is_insecure = true, .alpn = {"http/1.1"}}, {"h2"});
  ASSERT_FALSE(met.client.stream);
  EXPECT_EQ(met.client.stream.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(met.client.stream.error().message, HasSubstr("no application protocol"));
}

TEST_F(ClientContextTest, ShowsItsCertificateToAServerThatAsks) {
  const Pems pems(leaf("client.test"));
  const auto credentials = load_credentials(pems.chain, SecretString::take(std::string(pems.key)), now_);
  ASSERT_TRUE(credentials) << credentials.error().message;
  for (const bool shows : {true, false}) {
    const IdentityPtr identity = leaf("a.test");
    const RootsPtr clients = roots(ca_->certificate_pem());
    SSL_CTX_set1_cert_store(identity->context(), clients->store());
    // The test CA makes certificates of servers only.
    SSL_CTX_set_purpose(identity->context(), X509_PURPOSE_SSL_SERVER);
    SSL_CTX_set_verify(identity->context(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    ClientOptions options{.roots = roots(ca_->certificate_pem())};
    if (shows) options.credentials = *credentials;
    Met met = meet(identity, "a.test", options);
    // In TLS 1.3 the client is done before the server has seen its certificate.
    ASSERT_TRUE(met.client.stream);
    EXPECT_EQ(met.server.has_value(), shows);
    if (!shows) {
      EXPECT_THAT(met.server.error().message, HasSubstr("did not return a certificate"));
      read_text(loop_, **met.client.stream);
      EXPECT_THAT((*met.client.stream)->last_error(), HasSubstr("certificate required"));
    }
  }
}

TEST_F(ClientContextTest, TakesAnEndWithoutCloseNotifyWhereItMay) {
  for (const bool takes : {true, false}) {
    Met met = meet(leaf("a.test"), "a.test", {.is_insecure = true, .takes_unclean_end = takes});
    ASSERT_TRUE(met.client.stream && met.server);
    (*met.server)->close();
    Received received;
    net::TaskGroup tasks(loop_);
    tasks.spawn(read_all(**met.client.stream, received));
    run_until(loop_, [&] { return received.ended(); });
    EXPECT_EQ(received.clean, takes);
  }
}

TEST_F(ClientContextTest, BrokenRootsAreRefusedWithTheReason) {
  const std::string good = ca_->certificate_pem();
  for (const auto& [pem, reason] :
       {std::pair<std::string, std::string>{"", "no PEM certificate"},
        {"garbage", "no PEM certificate"},
        {good.substr(0, good.size() / 2), "certificate 1 cannot be read"},
        {good + good.substr(0, good.size() / 2), "certificate 2 cannot be read"}}) {
    const auto loaded = load_roots(pem, now_);
    ASSERT_FALSE(loaded) << pem;
    EXPECT_THAT(loaded.error().message, HasSubstr(reason));
  }
  const auto over = load_roots(good, now_ + std::chrono::days(3653));
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().message, HasSubstr("its certificate has expired, the last on 20"));
}

TEST_F(ClientContextTest, BrokenCredentialsAreRefusedWithTheReason) {
  const IdentityPtr identity = leaf("client.test");
  const Pems pems(identity);
  const Pems other(leaf("client.test"));
  const auto load = [](const std::string& chain, const std::string& key, UnixTime now) {
    const auto loaded = load_credentials(chain, SecretString::take(std::string(key)), now);
    return loaded ? std::string("taken") : loaded.error().message;
  };
  EXPECT_EQ(load(pems.chain, pems.key, now_), "taken");
  EXPECT_THAT(load("", pems.key, now_), AllOf(HasSubstr("the certificate"), HasSubstr("no PEM certificate")));
  EXPECT_THAT(load(pems.chain, "x", now_),
              AllOf(HasSubstr("the private key"), HasSubstr("unencrypted PEM key")));
  EXPECT_THAT(load(pems.chain, key_pem_of(SSL_CTX_get0_privatekey(identity->context()), "secret"), now_),
              HasSubstr("unencrypted PEM key"));
  EXPECT_THAT(load(pems.chain, other.key, now_), HasSubstr("do not belong together"));
  EXPECT_THAT(load(pems.chain, pems.key, now_ + std::chrono::days(91)), HasSubstr("has expired on 20"));
}

}  // namespace
}  // namespace culvert::tls
