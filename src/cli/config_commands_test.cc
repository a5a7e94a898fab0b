#include "cli/config_commands.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

using testing::StartsWith;

const char* const kNodeFile =
    "[hub]\npublic-url = [\"https://a.com\", \"https://b.com\"]\n\n[edge]\nworkers = 2\n";

TEST(ConfigShow, NamesWhereEachValueComesFrom) {
  Fixture<ConfigShowCommand> f;
  const std::string file = f.file("node.toml", kNodeFile);
  f.variables["CULVERT_LISTEN"] = "127.0.0.1:8443";
  f.variables["CULVERT_CONFIG"] = file;
  ASSERT_TRUE(f.resolve({"node", "--max-connections", "7", "-o", "json"}));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"({"setting":"edge.workers","value":"2","source":")" + file + ":5\"}"));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"("value":"https://a.com,https://b.com","source":")" + file + ":2\""));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"({"setting":"edge.listen","value":"127.0.0.1:8443","source":"CULVERT_LISTEN"})"));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"({"setting":"edge.max-connections","value":"7","source":"--max-connections"})"));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"({"setting":"edge.balance","value":"round-robin","source":"default"})"));
}

TEST(ConfigShow, ShowsNoSecret) {
  Fixture<ConfigShowCommand> f;
  f.variables["CULVERT_OPERATOR_KEY"] = std::string(42, 'k') + "A";
  ASSERT_TRUE(f.resolve({"invite", "list"}));
  EXPECT_THAT(f.command.json(),
              HasSubstr(R"({"setting":"operator.key","value":"set","source":"CULVERT_OPERATOR_KEY"})"));
  EXPECT_THAT(f.command.json(), Not(HasSubstr("kkk")));
  Fixture<ConfigShowCommand> g;
  ASSERT_TRUE(g.resolve({"agent", "--token", token().encode()}));
  EXPECT_THAT(g.command.json(), HasSubstr(R"({"setting":"agent.token","value":"set","source":"--token"})"));
  EXPECT_THAT(g.command.json(), Not(HasSubstr("cvt_inv_1")));
}

TEST(ConfigShow, TakesTheCommandWithTheLongestName) {
  Fixture<ConfigShowCommand> f;
  const auto given = f.command.parse(std::vector<std::string>{"agent", "list"});
  ASSERT_TRUE(given) << given.error().message;
  EXPECT_EQ(given->positional, "agent list");
  EXPECT_EQ(f.command.parse(std::vector<std::string>{"agent", "--max-streams", "2"})->positional, "agent");
}

TEST(ConfigShow, RefusesWhatTheCommandWould) {
  Fixture<ConfigShowCommand> f;
  EXPECT_THAT(f.error({"node", "--workers", "none"}), StartsWith("--workers: "));
  EXPECT_THAT(f.command.parse(std::vector<std::string>{}).error().message, HasSubstr("COMMAND: is missing"));
  EXPECT_FALSE(f.command.parse(std::vector<std::string>{"node", "--max-streams", "1"}));
  EXPECT_THAT(f.error({"nonsense"}), HasSubstr("unknown command \"nonsense\""));
  EXPECT_THAT(f.error({"completion"}), HasSubstr("has no settings"));
}

TEST(ConfigCheck, ReportsEverythingThatIsWrong) {
  Fixture<ConfigCheckCommand> f;
  const std::string file = f.file("node.toml", "[edge]\nworkers = \"2\"\nworkres = 2\nbalance = \"fair\"\n");
  testing::internal::CaptureStderr();
  const std::string last = f.error({"--config", file});
  const std::string before = testing::internal::GetCapturedStderr();
  EXPECT_THAT(
      before,
      HasSubstr(file + ":3:1: edge.workres: is unknown to `culvert node`; did you mean edge.workers?"));
  EXPECT_THAT(before,
              HasSubstr(file + ":2:1: edge.workers: is text (expected a whole number without quotes)"));
  EXPECT_THAT(last, StartsWith(file + ":4:1: edge.balance: "));
}

TEST(ConfigCheck, AVerdictMayBeADocument) {
  testing::internal::CaptureStdout();
  Fixture<ConfigCheckCommand> right;
  ASSERT_TRUE(right.resolve({"node", "-o", "json"}));
  EXPECT_TRUE(right.command.run());
  Fixture<ConfigCheckCommand> wrong;
  wrong.variables = {{"HOME", "/home/u"}, {"CULVERT_OUTPUT", "json"}, {"CULVERT_WORKERS", "none"}};
  EXPECT_THAT(wrong.error({"node"}), StartsWith("CULVERT_WORKERS: "));
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_THAT(out, StartsWith(R"({"command":"node","status":"ok","problems":[]})"
                              "\n"
                              R"({"command":"node","status":"invalid","problems":["CULVERT_WORKERS: )"));
}

TEST(ConfigCheck, FindsTheCommandOfAFile) {
  const std::string secret = token().encode();
  struct Case {
    std::string content;
    std::string command;  // empty: it is wrong
  };
  for (const Case& c : std::initializer_list<Case>{
           {kNodeFile, "node"},
           {"[agent]\ntoken = \"" + secret + "\"\nservice = [\"a.com=localhost:1\"]\n", "agent"},
           {"[agent]\ntoken = \"" + secret + "\"\n", "http"},
           {"[http]\nhostname = \"a.com\"\n[agent]\ntoken = \"" + secret + "\"\n", "http"},
           {"[agent]\ntoken = \"" + secret.substr(1) + "\"\nservice = [\"a.com=localhost:1\"]\n", ""},
           {"edge = 1 1\n", ""}}) {
    Fixture<ConfigCheckCommand> f;
    auto resolved = f.resolve({"--config", f.file("c.toml", c.content)});
    EXPECT_EQ(resolved.has_value(), !c.command.empty()) << c.content;
    if (!resolved) {
      EXPECT_THAT(resolved.error().message, Not(HasSubstr(secret.substr(1))));
      continue;
    }
    testing::internal::CaptureStdout();
    EXPECT_TRUE(f.command.run());
    EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("ok: `culvert " + c.command + "` "));
  }
}

TEST(ConfigCheck, ReadsTheEnvironment) {
  Fixture<ConfigCheckCommand> f;
  f.variables["CULVERT_WORKERS"] = "none";
  EXPECT_THAT(f.error({"node"}), StartsWith("CULVERT_WORKERS: "));
  EXPECT_THAT(f.error({}), StartsWith("--config: is missing"));
  EXPECT_THAT(f.error({"version"}), HasSubstr("expected node, hub, edge, agent or http"));
}

TEST(ConfigCheck, AHubAndAnEdgeAreCheckedWhereTheyAreNamed) {
  struct Case {
    std::string command;
    std::string content;
    std::string problem;  // empty: it is right
  };
  for (const Case& c : std::initializer_list<Case>{
           {"hub", "[hub]\naudit-entries = 5000\n", ""},
           {"hub", "edge-token-file = \"/nonexistent\"\n", "edge-token-file: is unknown to `culvert hub`"},
           {"edge", "[edge]\nworkers = 2\n", ""},
           {"edge", "[hub]\naudit-entries = 5000\n", "hub.audit-entries: is unknown to `culvert edge`"}}) {
    Fixture<ConfigCheckCommand> f;
    auto resolved = f.resolve({c.command, "--config", f.file("c.toml", c.content)});
    ASSERT_EQ(resolved.has_value(), c.problem.empty()) << c.content;
    if (!resolved) {
      EXPECT_THAT(resolved.error().message, HasSubstr(c.problem));
      continue;
    }
    testing::internal::CaptureStdout();
    EXPECT_TRUE(f.command.run());
    EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("ok: `culvert " + c.command + "` "));
  }
}

TEST(ConfigReference, HasTheTablesOfTheDocuments) {
  testing::internal::CaptureStdout();
  Fixture<ConfigReferenceCommand> f;
  ASSERT_TRUE(f.resolve({"node"}));
  EXPECT_TRUE(f.command.run());
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_THAT(out, StartsWith("## culvert node\n"));
  EXPECT_THAT(out, HasSubstr("| `--workers N` | `edge.workers` | `CULVERT_WORKERS` | `1` |"));
  EXPECT_THAT(out, HasSubstr("\nworkers = 1\n"));
  EXPECT_THAT(out, Not(HasSubstr("culvert agent")));
}

}  // namespace
}  // namespace culvert::cli
