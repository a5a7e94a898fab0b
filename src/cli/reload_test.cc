#include "cli/reload.h"

#include "cli/agent_command.h"
#include "cli/command_fixture.h"
#include "cli/node_command.h"
#include "cli/reload_command.h"

namespace culvert::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr const char* kFile =
    "[edge]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nhello-timeout = \"10s\"\n[log]\nlevel = \"info\"\n";

TEST(Reload, TakesWhatMayChangeAndNamesTheRest) {
  Fixture<NodeCommand> f;
  const std::string file = f.file("node.toml", kFile);
  ASSERT_TRUE(f.resolve({"--config", file}));
  auto nothing = f.command.reload();
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_THAT(nothing->changed, IsEmpty());
  EXPECT_THAT(nothing->needs_restart, IsEmpty());

  (void)f.file("node.toml",
               "[edge]\nlisten = \"127.0.0.1:0\"\nworkers = 2\nhello-timeout = \"3s\"\n"
               "max-connections = 77\ntrusted-proxies = [\"10.0.0.0/8\"]\n[log]\nlevel = \"error\"\n");
  for (const bool is_first : {true, false}) {
    auto report = f.command.reload();
    ASSERT_TRUE(report) << report.error().message;
    if (is_first) {
      EXPECT_THAT(
          report->changed,
          UnorderedElementsAre("edge.hello-timeout: 3s, was 10s", "edge.max-connections: 77, was 20000",
                               "edge.trusted-proxies: 10.0.0.0/8, was none", "log.level: error, was info"));
    } else {
      EXPECT_THAT(report->changed, IsEmpty()) << "it is in force";
    }
    EXPECT_THAT(report->needs_restart, ElementsAre("edge.workers: 2, was 1")) << "as long as it is so";
  }
  EXPECT_FALSE(log_enabled(LogLevel::kWarn));
  (void)f.file("node.toml", kFile);
  auto back = f.command.reload();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->changed.size(), 4u);
  EXPECT_THAT(back->needs_restart, IsEmpty());
  EXPECT_TRUE(log_enabled(LogLevel::kInfo));
}

TEST(Reload, TakesTheRulesOfTenants) {
  Fixture<NodeCommand> f;
  const std::string file = f.file("node.toml", "[hub]\ntenant-agents = 5\n");
  ASSERT_TRUE(f.resolve({"--config", file}));
  (void)f.file("node.toml",
               "[hub]\ntenant-agents = 6\ntenant-hostnames = 7\nallow-privileged-ports = \"yes\"\n"
               "public-url = [\"https://a.eu\"]\n");
  auto report = f.command.reload();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_THAT(report->changed,
              UnorderedElementsAre("hub.tenant-agents: 6, was 5", "hub.tenant-hostnames: 7, was 16384",
                                   "hub.allow-privileged-ports: yes, was no"));
  EXPECT_THAT(report->needs_restart, ElementsAre(HasSubstr("hub.public-url: https://a.eu")));
}

TEST(Reload, TakesTheFormatOfTheLog) {
  Fixture<NodeCommand> f;
  const std::string file = f.file("node.toml", kFile);
  ASSERT_TRUE(f.resolve({"--config", file}));
  (void)f.file("node.toml", std::string(kFile) + "format = \"json\"\n");
  testing::internal::CaptureStderr();
  auto report = f.command.reload();
  const std::string log = testing::internal::GetCapturedStderr();
  set_log_options({});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_THAT(report->changed, ElementsAre("log.format: json, was text"));
  EXPECT_THAT(log, HasSubstr("\"msg\":\"config_reloaded\",\"changed\":\"log.format: json, was text\""));
}

// One wrong part, and the entire file has no effect.
TEST(Reload, RefusesTheEntireFile) {
  Fixture<NodeCommand> f;
  const std::string file = f.file("node.toml", kFile);
  ASSERT_TRUE(f.resolve({"--config", file}));
  for (const char* bad :
       {"[edge]\nhello-timeout = \"soon\"\n[log]\nlevel = \"error\"\n", "[log]\nlevel = \"error\"\n[edge\n",
        "[log]\nlevel = \"error\"\nlevle = \"info\"\n"}) {
    (void)f.file("node.toml", bad);
    auto refused = f.command.reload();
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(refused.error().message, HasSubstr("node.toml"));
    EXPECT_TRUE(log_enabled(LogLevel::kInfo)) << "nothing is taken of it";
  }
  std::filesystem::remove(file);
  EXPECT_FALSE(f.command.reload());
  (void)f.file("node.toml", kFile);
  auto good = f.command.reload();
  ASSERT_TRUE(good);
  EXPECT_THAT(good->changed, IsEmpty());
}

// What came by flag or variable stays: neither can have changed.
TEST(Reload, AFlagIsAboveTheFile) {
  Fixture<NodeCommand> f;
  const std::string file = f.file("node.toml", kFile);
  ASSERT_TRUE(f.resolve({"--config", file, "--hello-timeout", "1s"}));
  (void)f.file("node.toml", "[edge]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nhello-timeout = \"3s\"\n");
  auto report = f.command.reload();
  ASSERT_TRUE(report);
  EXPECT_THAT(report->changed, IsEmpty());
}

TEST(Reload, AFileOfAnOriginThatIsBrokenChangesNothing) {
  Fixture<AgentCommand> f;
  const std::string services = f.file("services.json", R"([{"hostname":"a.eu","origin":"localhost:1"}])");
  const std::string token_file = f.file("token", token().encode());
  ASSERT_TRUE(f.resolve({"--token-file", token_file, "--services-file", services}));
  const std::string ca = f.file("ca.pem", "no certificate");
  (void)f.file("services.json",
               fmt::format(R"([{{"hostname":"a.eu","origin":"localhost:1","tls_mode":"terminate",)"
                           R"("origin_server_name":"in.eu","origin_ca_file":"{}"}}])",
                           ca));
  bool is_taken = false;
  auto report = f.command.reload([&](const std::vector<agent::Service>&) { is_taken = true; });
  ASSERT_FALSE(report);
  EXPECT_FALSE(is_taken);
  for (const std::string& part : {std::string("a.eu"), std::string("origin_ca_file"), ca})
    EXPECT_THAT(report.error().message, HasSubstr(part));
  EXPECT_FALSE(f.command.config().services[0].origin.tls);
}

TEST(Reload, AnAgentTakesItsServices) {
  Fixture<AgentCommand> f;
  const std::string services = f.file("services.json", R"([{"hostname":"a.eu","origin":"localhost:1"}])");
  const std::string token_file = f.file("token", token().encode());
  ASSERT_TRUE(f.resolve({"--token-file", token_file, "--services-file", services}));
  (void)f.file("services.json",
               R"([{"hostname":"a.eu","origin":"localhost:2"},{"hostname":"b.eu","origin":"localhost:1"}])");
  std::vector<agent::Service> taken;
  auto report = f.command.reload([&](std::vector<agent::Service> wanted) { taken = std::move(wanted); });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_THAT(report->changed, ElementsAre("services: 2, were 1"));
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].origin.to_string(), "localhost:2");
  taken.clear();
  auto same = f.command.reload([&](std::vector<agent::Service> wanted) { taken = std::move(wanted); });
  EXPECT_THAT(same->changed, IsEmpty());
  EXPECT_TRUE(taken.empty());

  hubapi::InviteToken other = token();
  other.invite_id.fill(9);
  (void)f.file("token", other.encode());
  auto token_changed = f.command.reload([](std::vector<agent::Service>) { FAIL(); });
  ASSERT_TRUE(token_changed);
  EXPECT_THAT(token_changed->needs_restart, ElementsAre("token: another one"));
  (void)f.file("services.json", "[]");
  EXPECT_FALSE(f.command.reload([](std::vector<agent::Service>) { FAIL(); }));
}

TEST(ConfigReload, SaysWhatChangedAndWhatDidNot) {
  EXPECT_EQ(format_reload(R"({"status":"ok","changed":[],"needs_restart":[]})", {}).value(),
            "nothing has changed\n");
  EXPECT_EQ(format_reload(R"({"status":"ok","changed":["a","b"],"needs_restart":["c"]})", {}).value(),
            "changed: a\nchanged: b\nneeds a restart: c\n");
  EXPECT_EQ(
      format_reload(R"({"status":"ok","changed":["a"],"needs_restart":[]})", {.format = OutputFormat::kJson})
          .value(),
      "{\"status\":\"ok\",\"changed\":[\"a\"],\"needs_restart\":[]}\n");
  EXPECT_FALSE(format_reload("{}", {}));
}

}  // namespace
}  // namespace culvert::cli
