#include "tls/root_certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tls/public_certificate.h"
#include "tls/tls.h"

namespace culvert::tls {
namespace {

using ::testing::HasSubstr;

const UnixTime kNow{std::chrono::seconds(1'800'000'000)};

TEST(RootCertificate, IsOneRoot) {
  const InternalCa::Pem pem = InternalCa::create("The Root", kNow);
  const auto root = RootCertificate::from_pem("a comment\n" + pem.certificate);
  ASSERT_TRUE(root) << root.error().message;
  EXPECT_EQ(root->name, "The Root");
  EXPECT_EQ(root->pem, pem.certificate);
  EXPECT_EQ(root->not_after, kNow + std::chrono::days(3652));
  EXPECT_EQ(root->fingerprint().size(), 95u);
  EXPECT_EQ(parse_fingerprint(root->fingerprint()).value(), root->digest);

  const auto request =
      CertificateRequest::from_der(certificate_request(P256Key::generate(), {"a.test"}).value()).value();
  const std::string leaf =
      InternalCa::load(pem).value()->issue(request, kNow, kNow + std::chrono::hours(1)).value();
  EXPECT_THAT(RootCertificate::from_pem(leaf).error().message, HasSubstr("not that of a CA"));
  EXPECT_THAT(RootCertificate::from_pem(pem.certificate + leaf).error().message, HasSubstr("holds 2"));
  EXPECT_FALSE(RootCertificate::from_pem("nonsense"));
}

TEST(RootCertificate, Fingerprints) {
  EXPECT_EQ(parse_fingerprint(std::string(64, 'a')).value(), parse_fingerprint(std::string(64, 'A')).value());
  for (const std::string& text :
       {std::string(), std::string(62, 'a'), std::string(66, 'a'), std::string(64, 'x')})
    EXPECT_FALSE(parse_fingerprint(text)) << text;
}

}  // namespace
}  // namespace culvert::tls
