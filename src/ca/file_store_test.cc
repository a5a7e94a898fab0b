#include "ca/file_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "acme/jws.h"
#include "tls/public_certificate.h"

namespace culvert::ca {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class CaFileStoreTest : public ::testing::Test {
 public:
  CaFileStoreTest() {
    std::string name = (fs::temp_directory_path() / "culvert-ca-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  ~CaFileStoreTest() override { fs::remove_all(directory_); }

  FileStore open() { return FileStore::open(directory_ / "acme-ca").value(); }

  fs::path directory_;
};

TEST_F(CaFileStoreTest, KeepsAccountsAndCertificates) {
  const UnixTime now(1'800'000'000s);
  const auto root = tls::InternalCa::load(tls::InternalCa::create("Root", now)).value();
  const auto request = tls::CertificateRequest::from_der(
                           tls::certificate_request(tls::P256Key::generate(), {"a.test"}).value())
                           .value();
  const std::string jwk = acme::jwk_text(tls::P256Key::generate().point());
  auto certificate = IssuedCertificate::from_pem("id-1", root->issue(request, now, now + 1h).value()).value();
  certificate.revoked_at = now + 1s;
  {
    FileStore store = open();
    ASSERT_TRUE(store.save(Account{.id = "id-1",
                                   .key = parse_account_key(jwk).value(),
                                   .contacts = {"mailto:a@b.test"},
                                   .is_deactivated = true}));
    ASSERT_TRUE(store.save(certificate));
    const auto second = FileStore::open(directory_ / "acme-ca");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  }
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    struct stat status{};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    if (entry.path().extension() == ".json") EXPECT_EQ(status.st_mode & 07777, 0600u) << entry.path();
    if (entry.is_directory()) EXPECT_EQ(status.st_mode & 07777, 0700u) << entry.path();
  }
  std::ofstream(directory_ / "acme-ca/accounts/damaged.json") << "{";
  FileStore store = open();
  const auto accounts = store.accounts().value();
  ASSERT_EQ(accounts.size(), 1u) << "what is damaged is left out";
  EXPECT_EQ(accounts[0].key.jwk, jwk);
  EXPECT_TRUE(accounts[0].is_deactivated);
  const auto certificates = store.certificates().value();
  ASSERT_EQ(certificates.size(), 1u);
  EXPECT_EQ(certificates[0].id, certificate.id);
  EXPECT_EQ(certificates[0].revoked_at, certificate.revoked_at);
  ASSERT_TRUE(store.remove_certificate(certificate.id));
  EXPECT_TRUE(store.certificates()->empty());
}

}  // namespace
}  // namespace culvert::ca
