#include "cli/agent_command.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

TEST(AgentCommand, CollectsServicesFromEverySource) {
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  f.variables["CULVERT_AGENT_SERVICES"] = R"([{"hostname":"a.com","origin":"x:1"}])";
  ASSERT_TRUE(f.resolve({"--service", "b.com=y:2,terminate", "--service", "c.com=z:3", "--max-streams", "5",
                         "--origin-timeout", "3s", "--idle-timeout", "4h", "--log-level", "debug"}));
  const agent::Config& config = f.command.config();
  ASSERT_EQ(config.services.size(), 3u);
  EXPECT_EQ(config.services[0].name(), "a.com");
  EXPECT_EQ(config.services[1].kind(), tunnel::StreamKind::kTerminate);
  EXPECT_EQ(std::get<HostPort>(config.services[2].origin.place).port, 3);
  EXPECT_EQ(config.options.max_streams, 5u);
  EXPECT_EQ(config.options.origin_timeout, 3s);
  EXPECT_EQ(config.options.pump.idle, 4h);
  EXPECT_EQ(f.command.log_options()->level, LogLevel::kDebug);
}

TEST(AgentCommand, TheFileTakesJsonTablesAndShortForms) {
  for (const char* services :
       {"services = '[{\"hostname\":\"a.com\",\"origin\":\"x:1\",\"tls_mode\":\"terminate\"}]'\n",
        "services = [{hostname = \"a.com\", origin = \"x:1\", tls_mode = \"terminate\"}]\n",
        "[[agent.services]]\nhostname = \"a.com\"\norigin = \"x:1\"\ntls_mode = \"terminate\"\n"}) {
    Fixture<AgentCommand> f;
    std::string token_path = f.file("token", token().encode() + "\n");
    std::string path =
        f.file("agent.toml", fmt::format("[agent]\ntoken-file = \"{}\"\n"
                                         "service = [\"b.com=y:2,terminate\", \"c.com=z:3\"]\n{}",
                                         token_path, services));
    auto resolved = f.resolve({"--config", path});
    ASSERT_TRUE(resolved) << resolved.error().message;
    ASSERT_EQ(f.command.config().services.size(), 3u);
    EXPECT_EQ(f.command.config().services[0].kind(), tunnel::StreamKind::kTerminate);
  }
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  EXPECT_THAT(f.error({"--config", f.file("agent.toml", "[[agent.services]]\nhostname = \"a.com\"\n")}),
              HasSubstr("agent.services: service 1: origin is missing"));
}

TEST(AgentCommand, IsExclusiveWhenToldSo) {
  for (const bool is_exclusive : {false, true}) {
    Fixture<AgentCommand> f;
    f.variables["CULVERT_TOKEN"] = token().encode();
    std::vector<std::string> arguments = {"--service", "a.com=x:1"};
    if (is_exclusive) arguments.emplace_back("--exclusive");
    ASSERT_TRUE(f.resolve(arguments));
    EXPECT_EQ(f.command.config().options.is_exclusive, is_exclusive);
  }
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  f.variables["CULVERT_EXCLUSIVE"] = "yes";
  ASSERT_TRUE(f.resolve({"--service", "a.com=x:1"}));
  EXPECT_TRUE(f.command.config().options.is_exclusive);
  ASSERT_TRUE(f.resolve({"--service", "b.com=x:1", "--exclusive=no"}));
  EXPECT_FALSE(f.command.config().options.is_exclusive) << "the flag is above the variable";
  f.variables.erase("CULVERT_EXCLUSIVE");
  const std::string file = f.file("agent.toml", "[agent]\nexclusive = true\n");
  ASSERT_TRUE(f.resolve({"--service", "c.com=x:1", "--config", file}));
  EXPECT_TRUE(f.command.config().options.is_exclusive);
  EXPECT_THAT(f.error({"--service", "d.com=x:1", "--exclusive", "maybe"}), HasSubstr("expected yes or no"));
}

TEST(AgentCommand, TheServicesFileIsRead) {
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  ASSERT_TRUE(f.resolve({"--services-file", f.file("s.json", R"([{"hostname":"a.com","origin":"x:1"}])")}));
  EXPECT_EQ(f.command.config().services.size(), 1u);
}

TEST(AgentCommand, RefusalsNameTheSource) {
  std::string good_services = R"([{"hostname":"a.com","origin":"x:1"}])";
  struct Case {
    std::vector<std::string> arguments;
    std::map<std::string, std::string> variables;
    const char* expected;
  };
  for (const Case& c : std::initializer_list<Case>{
           {{"--service", "a.com=x:1"}, {}, "token: there is none. Make one"},
           {{}, {{"CULVERT_TOKEN", token().encode()}}, "services: there are none. Give"},
           {{"--service", "a.com=x:1"}, {{"CULVERT_TOKEN", "cvt_inv_1.x"}}, "CULVERT_TOKEN: "},
           {{"--service", "a.com=x:1", "--token-file", "/nonexistent/token"}, {}, "--token-file: "},
           {{"--service", "a.com=x:1", "--token-file", "/x"},
            {{"CULVERT_TOKEN", "y"}},
            "CULVERT_TOKEN and --token-file: both"},
           {{"--service", "a.com"}, {}, "--service: "},
           {{}, {{"CULVERT_SERVICE", "a.com=x:1 b.com"}}, "CULVERT_SERVICE: \"b.com\""},
           {{"--services", "[{]"}, {}, "--services: "},
           {{}, {{"CULVERT_AGENT_SERVICES", "[1]"}}, "CULVERT_AGENT_SERVICES: service 1"},
           {{"--services-file", "/nonexistent/s.json"}, {}, "--services-file: "},
           {{"--services", good_services, "--service", "A.com=y:2"},
            {{"CULVERT_TOKEN", token().encode()}},
            "services: hostname a.com is given twice"},
           {{"--service", "a.com=x:1", "--max-streams", "0"}, {}, "--max-streams: "},
           {{"--service", "a.com=x:1", "--origin-timeout", "soon"}, {}, "--origin-timeout: "},
       }) {
    Fixture<AgentCommand> f;
    f.variables.insert(c.variables.begin(), c.variables.end());
    EXPECT_THAT(f.error(c.arguments), HasSubstr(c.expected));
  }
}

TEST(AgentCommand, MoreThanAHubAcceptsIsRefusedAtTheStart) {
  const auto many = [](int count, const std::string& label) {
    std::string json;
    for (int i = 0; i < count; ++i) {
      json += fmt::format("{}{{\"hostname\":\"{}{}.com\",\"origin\":\"x:1\"}}", i > 0 ? "," : "", label, i);
    }
    return "[" + json + "]";
  };
  const auto with_services = [&](Fixture<AgentCommand>& f, const std::string& json) {
    f.variables["CULVERT_TOKEN"] = token().encode();
    return std::vector<std::string>{"--services-file", f.file("s.json", json)};
  };
  Fixture<AgentCommand> full;
  EXPECT_TRUE(full.resolve(with_services(full, many(256, "n"))));
  Fixture<AgentCommand> one_more;
  auto arguments = with_services(one_more, many(256, "n"));
  arguments.insert(arguments.end(), {"--service", "b.com=x:1"});
  EXPECT_THAT(one_more.error(arguments),
              HasSubstr("services: there are 257 services, and one agent may declare 256"));
  Fixture<AgentCommand> many_more;
  EXPECT_THAT(many_more.error(with_services(many_more, many(300, "n"))), HasSubstr("300 services"));
  Fixture<AgentCommand> long_names;
  const std::string label =
      std::string(63, 'l') + "." + std::string(63, 'm') + "." + std::string(63, 'n') + ".";
  EXPECT_THAT(long_names.error(with_services(long_names, many(256, label + std::string(45, 'p')))),
              HasSubstr("65536 are allowed"));
}

TEST(AgentCommand, ServicesAndServicesFileExcludeEachOther) {
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  std::string path = f.file("s.json", R"([{"hostname":"a.com","origin":"x:1"}])");
  EXPECT_THAT(f.error({"--services", R"([{"hostname":"b.com","origin":"x:1"}])", "--services-file", path}),
              HasSubstr("--services and --services-file: both"));
}

TEST(AgentCommand, ErrorsDoNotShowTheToken) {
  std::string text = token().encode();
  std::string damaged = text.substr(0, text.size() - 3);
  Fixture<AgentCommand> f;
  std::string message = f.error({"--service", "a.com=x:1", "--token", damaged});
  // None of its parts but the version's name.
  for (size_t at = 10; at + 20 < damaged.size(); at += 10)
    EXPECT_THAT(message, Not(HasSubstr(damaged.substr(at, 20))));
}

}  // namespace
}  // namespace culvert::cli
