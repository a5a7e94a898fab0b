#include "cli/trust_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "tls/tls.h"

namespace culvert::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TrustStoreTest : public testing::Test {
 public:
  TrustStoreTest() {
    std::string name = (fs::temp_directory_path() / "culvert-trust-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  ~TrustStoreTest() override { fs::remove_all(directory_); }

  // One whose program writes what is in its directory to a file.
  TrustStore store(const std::string& more = "") {
    fs::create_directories(directory_ / "roots");
    const fs::path program = directory_ / "update";
    std::ofstream(program) << "#!/bin/sh\nls " << (directory_ / "roots").native() << " > "
                           << (directory_ / "made").native() << "\n"
                           << more;
    fs::permissions(program, fs::perms::owner_all);
    return {
        .directory = directory_ / "roots", .extension = ".crt", .program = program.native(), .arguments = {}};
  }
  std::string made() const {
    const auto bytes = read_file(directory_ / "made", 4096);
    return bytes ? std::string(as_text(*bytes)) : "";
  }

  fs::path directory_;
  const tls::RootCertificate root_ =
      tls::RootCertificate::from_pem(
          tls::InternalCa::create("The Root", UnixTime(std::chrono::seconds(1'800'000'000))).certificate)
          .value();
};

TEST_F(TrustStoreTest, ATrustedRootIsTakenBack) {
  const auto plan = plan_trust(store(), root_, false).value();
  EXPECT_THAT(plan.text(),
              HasSubstr("root certificate: The Root\nSHA-256 fingerprint: " + root_.fingerprint()));
  EXPECT_THAT(plan.text(), HasSubstr("1. write this certificate to " + plan.file.native()));
  EXPECT_THAT(plan.text(), HasSubstr("2. run " + (directory_ / "update").native()));
  EXPECT_FALSE(fs::exists(plan.file)) << "a plan does nothing";
  ASSERT_TRUE(plan.carry_out());
  EXPECT_EQ(as_text(read_file(plan.file, 64 * 1024).value()), root_.pem);
  EXPECT_EQ(made(), plan.file.filename().native() + "\n");
  EXPECT_THAT(plan_trust(store(), root_, false)->text(), HasSubstr("has this certificate already"));

  const auto back = plan_trust(store(), root_, true).value();
  EXPECT_THAT(back.text(), HasSubstr("1. remove " + plan.file.native()));
  ASSERT_TRUE(back.carry_out());
  EXPECT_EQ(made(), "");
  EXPECT_EQ(plan_trust(store(), root_, true).error().code, ErrorCode::kNotFound);
}

TEST_F(TrustStoreTest, WhatIsInTheWayStays) {
  const TrustStore there = store();
  std::ofstream(there.file_of(root_)) << "another one";
  for (const bool removes : {false, true})
    EXPECT_EQ(plan_trust(there, root_, removes).error().code, ErrorCode::kConflict);
}

TEST_F(TrustStoreTest, AProgramThatFailsIsTold) {
  const auto plan = plan_trust(store("echo no luck\nexit 3\n"), root_, false).value();
  const auto done = plan.carry_out();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("failed with exit status 3"));
  EXPECT_THAT(done.error().message, HasSubstr("no luck"));
  EXPECT_THAT(done.error().message, HasSubstr(plan.file.native() + " is there"));
}

TEST_F(TrustStoreTest, FindsThatOfTheSystem) {
  EXPECT_FALSE(find_trust_store(directory_));
  fs::create_directories(directory_ / "usr/bin");
  fs::create_directories(directory_ / "etc/pki/ca-trust/source/anchors");
  EXPECT_FALSE(find_trust_store(directory_)) << "the program is missing";
  std::ofstream(directory_ / "usr/bin/update-ca-trust") << "";
  const auto fedora = find_trust_store(directory_);
  ASSERT_TRUE(fedora);
  EXPECT_EQ(fedora->command(), "/usr/bin/update-ca-trust extract");
  fs::create_directories(directory_ / "usr/sbin");
  fs::create_directories(directory_ / "usr/local/share/ca-certificates");
  std::ofstream(directory_ / "usr/sbin/update-ca-certificates") << "";
  EXPECT_EQ(find_trust_store(directory_)->file_of(root_).parent_path(), "/usr/local/share/ca-certificates");
}

}  // namespace
}  // namespace culvert::cli
