#include <openssl/pem.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

TEST(TlsIdentity, InternalCaIsBelievedByItsRoot) {
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

TEST(TlsIdentity, CertificateDates) {
  const UnixTime now = unix_now();
  EXPECT_EQ(not_after(*new_ca()->issue("a.test", now).value()),
            now - std::chrono::hours(1) + std::chrono::days(90));
  const auto ten_years = not_after(*self_signed_identity(test_key(1), "a.test", now).value()) - now;
  EXPECT_GE(ten_years, std::chrono::days(3650));
  auto late = new_ca()->issue("a.test", now + std::chrono::days(4000));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kInvalid);
}

TEST(TlsIdentity, OnlyNamesAreCertified) {
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

TEST(TlsIdentity, ACertificateMadeAgainFromItsKeyIsAsGoodAsTheLostOne) {
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

TEST(TlsIdentity, BrokenCaIsNamedByPart) {
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

TEST(TlsIdentity, SerialsAreFreshAndPositive) {
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

TEST(TlsIdentity, OpensslAgreesStrictly) {
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

}  // namespace
}  // namespace culvert::tls
