#include "acme/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace culvert::acme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OptionsTest : public ::testing::Test {
 public:
  OptionsTest() {
    SettingsBuilder builder(settings_);
    describe(builder, options_);
  }
  Result<> set(const std::string& name, std::string_view value) {
    const auto setting = std::ranges::find(settings_, name, &Setting::name);
    if (setting == settings_.end()) return fail(ErrorCode::kNotFound, "no setting {}", name);
    return setting->apply(value);
  }
  std::string error() { return manager_options(options_).error().message; }

  Options options_;
  std::vector<Setting> settings_;
};

TEST_F(OptionsTest, WithoutADirectoryThereAreNoCertificates) {
  EXPECT_EQ(manager_options(options_).value().has_value(), false);
  ASSERT_TRUE(set("second-directory", "letsencrypt"));
  EXPECT_THAT(error(), HasSubstr("acme.directory"));
}

TEST_F(OptionsTest, BecomeCas) {
  const std::string root = ::testing::TempDir() + "culvert-acme-root.pem";
  std::ofstream(root)
      << tls::InternalCa::create("A root", UnixTime(std::chrono::seconds(1'800'000'000))).certificate;
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"directory", "letsencrypt-staging"},
                                                        {"profile", "shortlived"},
                                                        {"contact", "ops@example.com"},
                                                        {"agree-terms", "yes"},
                                                        {"preferred-root", "ISRG Root X1"},
                                                        {"challenges", "http-01"},
                                                        {"challenges", "dns-01"},
                                                        {"challenges", "http-01"},
                                                        {"second-directory", "https://ca.example:9000/acme"},
                                                        {"second-root", root},
                                                        {"second-eab-key-id", "kid-1"},
                                                        {"second-eab-mac-key", "c2VjcmV0"},
                                                        {"max-per-domain", "7"},
                                                        {"max-per-tenant", "8"}}) {
    const auto applied = set(name, value);
    ASSERT_TRUE(applied) << name << ": " << applied.error().message;
  }
  const auto made = manager_options(options_).value();
  std::filesystem::remove(root);
  ASSERT_TRUE(made);
  ASSERT_EQ(made->issuer.cas.size(), 2u);
  const Ca& first = made->issuer.cas[0];
  EXPECT_EQ(first.directory.to_string(), "https://acme-staging-v02.api.letsencrypt.org/directory");
  EXPECT_EQ(first.profile, "shortlived");
  EXPECT_EQ(first.preferred_root, "ISRG Root X1");
  EXPECT_EQ(first.contact, "ops@example.com");
  EXPECT_TRUE(first.terms_agreed);
  EXPECT_TRUE(first.root_pem.empty());
  EXPECT_FALSE(first.external_account);
  const Ca& second = made->issuer.cas[1];
  EXPECT_EQ(second.directory.to_string(), "https://ca.example:9000/acme");
  EXPECT_THAT(second.root_pem, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_EQ(second.external_account->key_id, "kid-1");
  EXPECT_THAT(made->issuer.challenge_types, ElementsAre(ChallengeType::kHttp01, ChallengeType::kDns01));
  EXPECT_EQ(made->budgets.domain.most, 7u);
  EXPECT_EQ(made->budgets.tenant.most, 8u);
}

TEST_F(OptionsTest, WrongValuesAreNamed) {
  EXPECT_THAT(set("directory", "http://ca.example").error().message, HasSubstr("http://ca.example"));
  EXPECT_THAT(set("challenges", "dns-02").error().message, HasSubstr("tls-alpn-01, http-01 or dns-01"));
  for (const char* contact :
       {"", "ops", "@a.test", "ops@", "a@b@c", "ops@a.test?subject=x", "a b@c.test", "a@b.test,c@d.test"}) {
    EXPECT_FALSE(set("contact", contact)) << contact;
  }
  ASSERT_TRUE(set("directory", "letsencrypt"));
  ASSERT_TRUE(set("second-directory", "letsencrypt"));
  EXPECT_THAT(error(), HasSubstr("the same CA"));
  ASSERT_TRUE(set("second-directory", "letsencrypt-staging"));
  ASSERT_TRUE(set("second-eab-mac-key", "c2VjcmV0"));
  EXPECT_THAT(error(), HasSubstr("second-eab-key-id"));
  ASSERT_TRUE(set("root", "/does/not/exist"));
  EXPECT_THAT(error(), HasSubstr("acme.root: /does/not/exist"));
  ASSERT_TRUE(set("root", "/etc/hostname"));
  EXPECT_THAT(error(), HasSubstr("no PEM certificate"));
}

TEST_F(OptionsTest, TheMacKeyIsASecret) {
  for (const Setting& setting : settings_) {
    EXPECT_EQ(setting.is_secret, setting.name.ends_with("mac-key")) << setting.name;
    EXPECT_FALSE(setting.help.empty());
    EXPECT_EQ(setting.section, "acme");
    EXPECT_TRUE(setting.flag.starts_with("acme-"));
  }
}

}  // namespace
}  // namespace culvert::acme
