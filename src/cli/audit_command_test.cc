#include "cli/audit_command.h"

#include "cli/command_fixture.h"
#include "cli/listing.h"

namespace culvert::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

std::vector<std::string> with_hub(std::vector<std::string> arguments) {
  for (const std::string& word :
       {std::string("--hub-url"), std::string("https://hub.example.com"), std::string("--hub-key"),
        SecretKey::from_seed(Bytes(32, 1))->public_key().to_string(), std::string("--operator-key"),
        std::string(42, 'k') + "A"}) {
    arguments.push_back(word);
  }
  return arguments;
}

TEST(AuditList, AsksForWhatWasChosen) {
  Fixture<AuditListCommand> all;
  ASSERT_TRUE(all.resolve(with_hub({})));
  EXPECT_EQ(all.command.path(), "/v1/audit");
  Fixture<AuditListCommand> some;
  ASSERT_TRUE(some.resolve(with_hub({"--action", "invite", "--actor", "operator.key", "--subject", "-x_1"})));
  EXPECT_EQ(some.command.path(), "/v1/audit?actor=operator.key&action=invite&subject=-x_1");
  // What tenants did has an actor of two words.
  Fixture<AuditListCommand> odd;
  ASSERT_TRUE(odd.resolve(with_hub({"--actor", "tenant ab12", "--subject", "a&wait=10#%"})));
  EXPECT_EQ(odd.command.path(), "/v1/audit?actor=tenant%20ab12&subject=a%26wait%3D10%23%25");
  Fixture<AuditListCommand> recent;
  ASSERT_TRUE(recent.resolve(with_hub({"--since", "24h"})));
  EXPECT_THAT(recent.command.path(), StartsWith("/v1/audit?since=1"));
}

TEST(AuditList, RefusesWhatCannotBeAskedFor) {
  Fixture<AuditListCommand> nobody;
  EXPECT_THAT(nobody.error(with_hub({"--actor", ""})), HasSubstr("--actor"));
  Fixture<AuditListCommand> f;
  EXPECT_THAT(f.error(with_hub({"--since", "yesterday"})), HasSubstr("--since: "));
}

TEST(FetchAudit, GivesThePagesInTheOrderOfTheirMaking) {
  std::vector<std::string> asked;
  const auto fetch = [&](std::string path) -> Result<std::string> {
    asked.push_back(path);
    if (asked.size() == 1)
      return R"({"status":"ok","entries":[{"sequence":9},{"sequence":7}],"newest":9,"next":"7"})";
    if (asked.size() == 2) return R"({"status":"ok","entries":[],"next":"5"})";
    return R"({"status":"ok","entries":[{"sequence":3}]})";
  };
  auto piece = fetch_audit("/v1/audit?newer=2", fetch);
  ASSERT_TRUE(piece) << piece.error().message;
  EXPECT_EQ(piece->newest, 9u);
  EXPECT_THAT(piece->entries, ElementsAre(R"({"sequence":3})", R"({"sequence":7})", R"({"sequence":9})"));
  EXPECT_THAT(asked,
              ElementsAre("/v1/audit?newer=2", "/v1/audit?newer=2&after=7", "/v1/audit?newer=2&after=5"));
  EXPECT_FALSE(fetch_audit("/v1/audit", [](std::string) -> Result<std::string> { return "{}"; }));
}

TEST(FormatAuditEntry, OneLineForPeopleAndPrograms) {
  constexpr const char* kEntry =
      R"({"sequence":3,"at":1700000000,"actor":"op\ns","action":"invite.create","subject":"x"})";
  EXPECT_EQ(format_audit_entry(kEntry, OutputFormat::kTable).value(),
            "2023-11-14 22:13 UTC  op\\x0as  invite.create  x\n");
  const std::string json = format_audit_entry(kEntry, OutputFormat::kJson).value();
  EXPECT_EQ(json, std::string(kEntry) + "\n");
  EXPECT_THAT(format_audit_entry(kEntry, OutputFormat::kYaml).value(), StartsWith("---\nsequence: 3\n"));
}

}  // namespace
}  // namespace culvert::cli
