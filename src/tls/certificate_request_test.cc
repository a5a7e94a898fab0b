#include "tls/certificate_request.h"

#include <gmock/gmock.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "tls/openssl.h"
#include "tls/public_certificate.h"

namespace culvert::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

const UnixTime kNow{1'800'000'000s};

// A request as other programs make it.
struct Wanted {
  std::string common_name = {};
  std::string alternative_names = {};
};
Bytes make_request(EVP_PKEY* key, const Wanted& wanted) {
  X509_REQ* request = X509_REQ_new();
  EXPECT_EQ(X509_REQ_set_pubkey(request, key), 1);
  if (!wanted.common_name.empty()) {
    EXPECT_EQ(
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const uint8_t*>(wanted.common_name.data()), -1, -1, 0),
        1);
  }
  if (!wanted.alternative_names.empty()) {
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    X509_EXTENSION* names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, wanted.alternative_names.c_str());
    EXPECT_NE(names, nullptr);
    sk_X509_EXTENSION_push(extensions, names);
    EXPECT_EQ(X509_REQ_add_extensions(request, extensions), 1);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  const bool is_ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
  EXPECT_GT(X509_REQ_sign(request, key, is_ed25519 ? nullptr : EVP_sha256()), 0);
  unsigned char* data = nullptr;
  const int size = i2d_X509_REQ(request, &data);
  Bytes out(data, data + size);
  OPENSSL_free(data);
  X509_REQ_free(request);
  return out;
}

TEST(CertificateRequest, HasAllNamesOnce) {
  const PkeyPtr key = new_p256_key();
  const auto request = CertificateRequest::from_der(make_request(
      key.get(), {.common_name = "B.test", .alternative_names = "DNS:c.test,DNS:b.test,DNS:*.a.test"}));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(request->names(), ElementsAre("*.a.test", "b.test", "c.test"));
}

TEST(CertificateRequest, KeysThatAreTaken) {
  const auto attempt = [](EVP_PKEY* key) {
    return CertificateRequest::from_der(make_request(key, {.alternative_names = "DNS:a.test"}));
  };
  for (const PkeyPtr& key : {PkeyPtr(EVP_RSA_gen(2048)), PkeyPtr(EVP_EC_gen("P-384")),
                             PkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"))}) {
    const auto request = attempt(key.get());
    EXPECT_TRUE(request) << request.error().message;
  }
  EXPECT_THAT(attempt(PkeyPtr(EVP_RSA_gen(1024)).get()).error().message, HasSubstr("1024 bits"));
  EXPECT_THAT(attempt(PkeyPtr(EVP_EC_gen("P-224")).get()).error().message, HasSubstr("P-256 or P-384"));
}

TEST(CertificateRequest, WhatIsWrong) {
  const PkeyPtr key = new_p256_key();
  const auto fault = [&](const Wanted& wanted) {
    return CertificateRequest::from_der(make_request(key.get(), wanted)).error().message;
  };
  EXPECT_THAT(fault({}), HasSubstr("no name"));
  EXPECT_THAT(fault({.alternative_names = "IP:192.0.2.1"}), HasSubstr("not a DNS name"));
  EXPECT_THAT(fault({.alternative_names = "DNS:a..test"}), HasSubstr("neither a hostname"));
  EXPECT_THAT(fault({.common_name = "A person", .alternative_names = "DNS:a.test"}),
              HasSubstr("\"A person\""));
  std::string many = "DNS:a.test";
  for (int i = 0; i < 100; ++i) many += fmt::format(",DNS:n{}.test", i);
  EXPECT_EQ(CertificateRequest::from_der(make_request(key.get(), {.alternative_names = many})).error().code,
            ErrorCode::kLimit);
  Bytes der = make_request(key.get(), {.alternative_names = "DNS:a.test"});
  der.push_back(0);
  EXPECT_FALSE(CertificateRequest::from_der(der)) << "something follows";
  der.resize(der.size() - 20);
  EXPECT_FALSE(CertificateRequest::from_der(der));
  EXPECT_FALSE(CertificateRequest::from_der({}));
}

// The parts of a leaf that clients and linters look at.
TEST(InternalCa, IssuesForRequests) {
  const auto ca = InternalCa::load(InternalCa::create("Root", kNow)).value();
  const PkeyPtr key(EVP_RSA_gen(2048));
  const auto request =
      CertificateRequest::from_der(make_request(key.get(), {.alternative_names = "DNS:a.test,DNS:*.b.test"}))
          .value();
  const std::string pem = ca->issue(request, kNow, kNow + 24h).value();
  const X509Ptr leaf(PEM_read_bio_X509(bio_over(pem).get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(leaf);
  EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf.get())), 0);
  const int names = X509_get_ext_by_NID(leaf.get(), NID_subject_alt_name, -1);
  EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(leaf.get(), names)), 1);
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), static_cast<uint32_t>(XKU_SSL_SERVER));
  EXPECT_EQ(X509_get_key_usage(leaf.get()),
            static_cast<uint32_t>(KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT));
  EXPECT_NE(X509_get0_subject_key_id(leaf.get()), nullptr);
  EXPECT_NE(X509_get0_authority_key_id(leaf.get()), nullptr);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  const auto chain = CertificateChain::from_pem(pem + ca->certificate_pem());
  ASSERT_TRUE(chain) << chain.error().message;
  EXPECT_THAT(chain->names(), ElementsAre("*.b.test", "a.test"));
  EXPECT_EQ(chain->public_key_der(), request.public_key_der());
  EXPECT_EQ(serial_of(chain->leaf_der()).value(), chain->serial());
  EXPECT_FALSE(serial_of(Bytes{1, 2, 3}));

  // No leaf outlives its root.
  const auto late =
      CertificateChain::from_pem(ca->issue(request, kNow, kNow + std::chrono::days(5000)).value());
  EXPECT_LE(late->not_after(), kNow + std::chrono::days(3652));
  EXPECT_FALSE(ca->issue(request, kNow + std::chrono::days(4000), kNow + std::chrono::days(4001)));
}

}  // namespace
}  // namespace culvert::tls
