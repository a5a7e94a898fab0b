#include "tls/public_certificate.h"

#include <openssl/pem.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tls/csr_fixture.h"
#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

using culvert::tls::testing::RequestSigner;
using std::chrono::days;

const UnixTime kNow{std::chrono::seconds(1'800'000'000)};

struct Issued {
  P256Key key = P256Key::generate();
  std::string pem;
};

Issued issue(RequestSigner& ca, const std::vector<std::string>& names, UnixTime from = kNow - days(1),
             UnixTime to = kNow + days(89)) {
  Issued out;
  out.pem = ca.issue(certificate_request(out.key, names).value(), from, to);
  return out;
}

TEST(P256Key, KeepsItselfInPem) {
  const P256Key key = P256Key::generate();
  const auto again = P256Key::from_pem(key.to_pem());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->point().x, key.point().x);
  EXPECT_EQ(again->point().y, key.point().y);
  EXPECT_NE(P256Key::generate().point().x, key.point().x);
}

TEST(P256Key, RefusesOtherKeys) {
  const PkeyPtr ed25519(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const PkeyPtr p384(EVP_EC_gen("P-384"));
  for (const SecretString& pem : {SecretString("x"), to_pem(ed25519.get()), to_pem(p384.get())}) {
    const auto key = P256Key::from_pem(pem);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(key.error().message.find("BEGIN"), std::string::npos);
  }
}

// OpenSSL's own verification of what was made for JWS.
TEST(P256Key, SignsAsJwsWantsIt) {
  const P256Key key = P256Key::generate();
  const auto raw = key.sign(as_bytes("message"));
  ECDSA_SIG* signature = ECDSA_SIG_new();
  ASSERT_EQ(
      ECDSA_SIG_set0(signature, BN_bin2bn(raw.data(), 32, nullptr), BN_bin2bn(raw.data() + 32, 32, nullptr)),
      1);
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature, &der);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ASSERT_EQ(EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, pkey_of(key)), 1);
  const ByteView message = as_bytes("message");
  EXPECT_EQ(EVP_DigestVerify(context, der, static_cast<size_t>(size), message.data(), message.size()), 1);
  EVP_MD_CTX_free(context);
  OPENSSL_free(der);
  ECDSA_SIG_free(signature);
}

TEST(CertificateRequest, OnlyForNames) {
  const P256Key key = P256Key::generate();
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{}, {"A.test"}, {"a.test,DNS:b.test"}, {"a.test", ""}, {"127.0.0.1:1"}}) {
    EXPECT_FALSE(certificate_request(key, names));
  }
}

TEST(CertificateChain, SaysWhatWasIssued) {
  RequestSigner ca;
  const Issued issued = issue(ca, {"a.test", "*.a.test"});
  const auto chain = CertificateChain::from_pem("noise\n" + issued.pem);
  ASSERT_TRUE(chain) << chain.error().message;
  EXPECT_EQ(chain->pem(), issued.pem);
  EXPECT_EQ(chain->not_before(), kNow - days(1));
  EXPECT_EQ(chain->not_after(), kNow + days(89));
  EXPECT_EQ(chain->names(), (std::vector<std::string>{"a.test", "*.a.test"}));
  EXPECT_EQ(chain->serial(), (Bytes{0x00, 0x87, 0x65, 0x43, 0x21, 0x03}));
  EXPECT_EQ(chain->authority_key_id().size(), 20u);
  EXPECT_EQ(chain->root_name(), "Test Root");
  EXPECT_TRUE(chain->check(issued.key, {"a.test"}, kNow));
}

TEST(CertificateChain, RefusesWhatWasNotAskedFor) {
  RequestSigner ca;
  const Issued issued = issue(ca, {"a.test"});
  const auto chain = CertificateChain::from_pem(issued.pem).value();
  EXPECT_THAT(chain.check(P256Key::generate(), {"a.test"}, kNow).error().message, HasSubstr("private key"));
  EXPECT_THAT(chain.check(issued.key, {"a.test", "b.test"}, kNow).error().message, HasSubstr("b.test"));
  EXPECT_THAT(chain.check(issued.key, {"a.test"}, kNow + days(89)).error().message, HasSubstr("clock"));
  EXPECT_THAT(chain.check(issued.key, {"a.test"}, kNow - days(2)).error().message, HasSubstr("clock"));
  EXPECT_TRUE(chain.check(issued.key, {"a.test"}, kNow - days(1) - std::chrono::hours(1)));
}

TEST(CertificateChain, RefusesBrokenText) {
  RequestSigner ca;
  const std::string pem = issue(ca, {"a.test"}).pem;
  const std::string other = issue(ca, {"b.test"}).pem;
  EXPECT_FALSE(CertificateChain::from_pem(""));
  EXPECT_FALSE(CertificateChain::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(CertificateChain::from_pem(pem.substr(0, pem.size() - 40)));
  EXPECT_THAT(CertificateChain::from_pem(pem + other).error().message, HasSubstr("not issued by the next"));
  EXPECT_THAT(CertificateChain::from_pem(issue(ca, {"a.test"}, kNow, kNow).pem).error().message,
              HasSubstr("before it begins"));
  std::string many;
  for (size_t i = 0; i <= CertificateChain::kMaxCertificates; ++i) many += ca.root_pem();
  EXPECT_EQ(CertificateChain::from_pem(many).error().code, ErrorCode::kLimit);
}

TEST(CertificateChain, IsServedWithItsIntermediate) {
  net::EventLoop loop;
  RequestSigner ca;
  const UnixTime now = unix_now();
  const Issued issued = issue(ca, {"a.test"}, now - days(1), now + days(1));
  const auto chain = CertificateChain::from_pem(issued.pem).value();
  auto outcome = shake(loop, chain.identity(issued.key).value(), "a.test", roots(ca.root_pem()));
  EXPECT_TRUE(outcome.client) << outcome.client.error().message;
  EXPECT_EQ(to_der(*chain.identity(issued.key).value()).chain.size(), 2u);
}

TEST(ClientTrust, RootsOfTheSystemDoNotKnowOurs) {
  net::EventLoop loop;
  const auto ca = new_ca();
  const ClientTrust system{.pinned_key = {}, .root_pem = {}, .system_roots = true};
  auto refused = shake(loop, ca->issue("a.test", unix_now()).value(), "a.test", system);
  ASSERT_FALSE(refused.client);
  EXPECT_EQ(refused.client.error().code, ErrorCode::kUnauthorized);
  const ClientTrust both{.pinned_key = {}, .root_pem = ca->certificate_pem(), .system_roots = true};
  EXPECT_TRUE(shake(loop, ca->issue("a.test", unix_now()).value(), "a.test", both).client);
}

TEST(ClientTrust, FollowsTheFileOfTheSystem) {
  net::EventLoop loop;
  const std::string path = ::testing::TempDir() + "culvert-system-roots.pem";
  const auto write = [&](const std::string& pem) {
    std::ofstream(path, std::ios::trunc) << pem;
    ::setenv("SSL_CERT_FILE", path.c_str(), 1);
  };
  const ClientTrust system{.pinned_key = {}, .root_pem = {}, .system_roots = true};
  const auto ca = new_ca(), other = new_ca();
  const auto trusts = [&](const InternalCa& issuer) {
    return shake(loop, issuer.issue("a.test", unix_now()).value(), "a.test", system).client.has_value();
  };
  std::remove(path.c_str());
  ::setenv("SSL_CERT_FILE", path.c_str(), 1);
  EXPECT_FALSE(trusts(*ca));
  write("no certificate\n" + ca->certificate_pem());
  EXPECT_TRUE(trusts(*ca));
  EXPECT_TRUE(trusts(*ca));
  EXPECT_FALSE(trusts(*other));
  write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + other->certificate_pem());
  EXPECT_TRUE(trusts(*other));
  EXPECT_FALSE(trusts(*ca));
  ::unsetenv("SSL_CERT_FILE");
  std::remove(path.c_str());
}

// As a CA looks at it: RFC 8737, 3.
TEST(AcmeChallengeIdentity, HoldsTheDigest) {
  const Sha256 digest = sha256(as_bytes("token.thumbprint"));
  const auto identity = acme_challenge_identity("a.test", digest, kNow);
  ASSERT_TRUE(identity) << identity.error().message;
  X509* leaf = SSL_CTX_get0_certificate((*identity)->context());
  EXPECT_EQ(X509_get_version(leaf), X509_VERSION_3);
  ASN1_OBJECT* type = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
  const int at = X509_get_ext_by_OBJ(leaf, type, -1);
  ASN1_OBJECT_free(type);
  ASSERT_GE(at, 0);
  X509_EXTENSION* extension = X509_get_ext(leaf, at);
  EXPECT_EQ(X509_EXTENSION_get_critical(extension), 1);
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(extension);
  Bytes expected{0x04, 0x20};
  expected.insert(expected.end(), digest.begin(), digest.end());
  EXPECT_TRUE(std::ranges::equal(
      expected, ByteView(ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value)))));
  const auto names = CertificateChain::from_pem(to_pem(leaf));
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(names->names(), std::vector<std::string>{"a.test"});
  EXPECT_FALSE(acme_challenge_identity("*.a.test", digest, kNow));
}

}  // namespace
}  // namespace culvert::tls
