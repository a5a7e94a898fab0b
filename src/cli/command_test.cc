#include "cli/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/log.h"
#include "cli/agent_command.h"
#include "cli/foreground.h"
#include "cli/help.h"
#include "cli/http_command.h"
#include "cli/invite_commands.h"
#include "cli/node_command.h"
#include "cli/output.h"
#include "cli/program.h"
#include "cli/text_table.h"

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

// One command with a made-up command line, environment and file.
template <class T>
struct Fixture {
  T command;
  std::map<std::string, std::string> variables = {{"HOME", "/home/u"}};
  std::filesystem::path directory = std::filesystem::path(testing::TempDir()) /
                                    fmt::format("culvert_command_test_{}", static_cast<const void*>(this));

  Fixture() { std::filesystem::create_directories(directory); }
  ~Fixture() { std::filesystem::remove_all(directory); }

  std::string file(const std::string& name, std::string_view content, unsigned mode = 0600) {
    auto path = directory / name;
    EXPECT_TRUE(replace_file(path, as_bytes(content), mode));
    return path.string();
  }

  Result<> resolve(std::vector<std::string> arguments) {
    auto given = command.parse(arguments);
    EXPECT_TRUE(given) << given.error().message;
    if (!given) return std::unexpected(given.error());
    return command.resolve(*given, [this](const std::string& name) -> std::optional<std::string> {
      auto found = variables.find(name);
      if (found == variables.end() || found->second.empty()) return std::nullopt;
      return found->second;
    });
  }
  std::string error(std::vector<std::string> arguments) {
    auto resolved = resolve(std::move(arguments));
    EXPECT_FALSE(resolved) << "this should have been refused";
    return resolved ? "" : resolved.error().message;
  }
};

hubapi::InviteToken token() {
  hubapi::InviteToken out{.hub_urls = {"https://hub.example.com:8443"},
                          .hub_key = SecretKey::from_seed(Bytes(32, 1))->public_key(),
                          .invite_id = {},
                          .invite_secret = {},
                          .tenant_key = SecretKey::from_seed(Bytes(32, 2)).value()};
  out.invite_secret = SecretBytes<32>::from(Bytes(32, 0x22));
  return out;
}

// ---- node

TEST(NodeCommand, WithoutAnySourceTheDefaultsStay) {
  Fixture<NodeCommand> f;
  ASSERT_TRUE(f.resolve({}));
  const node::Config& config = f.command.config();
  EXPECT_FALSE(config.edge.tcp_listen);
  EXPECT_FALSE(config.edge.udp_listen);
  EXPECT_TRUE(config.public_urls.empty());
  EXPECT_TRUE(config.edge_addrs.empty());
  EXPECT_EQ(config.edge.hello_timeout, edge::Options().hello_timeout);
  EXPECT_EQ(f.command.log_level(), LogLevel::kInfo);
}

TEST(NodeCommand, TakesEveryFlag) {
  Fixture<NodeCommand> f;
  ASSERT_TRUE(f.resolve({"--data-dir",
                         "/d",
                         "--listen",
                         "127.0.0.1:8443",
                         "--udp-listen",
                         "127.0.0.1:9443",
                         "--public-url",
                         "https://a.com,https://b.com:8443",
                         "--public-url",
                         "https://c.com",
                         "--edge-addr",
                         "e.com:1",
                         "--tls",
                         "internal",
                         "--workers",
                         "4",
                         "--hello-timeout",
                         "500ms",
                         "--drain-timeout",
                         "0s",
                         "--max-connections",
                         "7",
                         "--max-connections-per-tenant",
                         "6",
                         "--max-handshakes",
                         "5",
                         "--max-handshakes-per-source",
                         "4",
                         "--idle-timeout",
                         "2h",
                         "--half-open-timeout",
                         "3m",
                         "--log-level",
                         "error"}));
  const node::Config& config = f.command.config();
  EXPECT_EQ(config.data_dir, "/d");
  EXPECT_EQ(config.edge.tcp_listen->to_string(), "127.0.0.1:8443");
  EXPECT_EQ(config.edge.udp_listen->to_string(), "127.0.0.1:9443");
  EXPECT_EQ(config.public_urls.size(), 3u);
  EXPECT_EQ(config.edge_addrs, std::vector<std::string>{"e.com:1"});
  EXPECT_EQ(config.edge.workers, 4u);
  EXPECT_EQ(config.edge.hello_timeout, 500ms);
  EXPECT_EQ(config.edge.drain_timeout, 0s);
  EXPECT_EQ(config.edge.max_connections, 7u);
  EXPECT_EQ(config.edge.max_connections_per_tenant, 6u);
  EXPECT_EQ(config.edge.max_unserved, 5u);
  EXPECT_EQ(config.edge.max_unserved_per_source, 4u);
  EXPECT_EQ(config.edge.pump.idle, 2h);
  EXPECT_EQ(config.edge.pump.half_open, 3min);
  EXPECT_EQ(f.command.log_level(), LogLevel::kError);
}

TEST(NodeCommand, FlagBeatsVariableBeatsFileBeatsDefault) {
  Fixture<NodeCommand> f;
  f.variables["CULVERT_CONFIG"] =
      f.file("node.toml", "[edge]\nworkers = 2\nmax-connections = 20\nhello-timeout = \"2s\"\n");
  f.variables["CULVERT_WORKERS"] = "3";
  f.variables["CULVERT_MAX_CONNECTIONS"] = "30";
  f.variables["CULVERT_DRAIN_TIMEOUT"] = "";  // empty is unset
  ASSERT_TRUE(f.resolve({"--workers", "4"}));
  EXPECT_EQ(f.command.config().edge.workers, 4u);
  EXPECT_EQ(f.command.config().edge.max_connections, 30u);
  EXPECT_EQ(f.command.config().edge.hello_timeout, 2s);
  EXPECT_EQ(f.command.config().edge.drain_timeout, edge::Options().drain_timeout);
}

TEST(NodeCommand, TheFileFlagBeatsItsVariable) {
  Fixture<NodeCommand> f;
  f.variables["CULVERT_CONFIG"] = "/nonexistent";
  ASSERT_TRUE(f.resolve({"--config", f.file("node.toml", "edge.workers = 2\n")}));
  EXPECT_EQ(f.command.config().edge.workers, 2u);
}

TEST(NodeCommand, BadValuesNameTheirFlag) {
  struct Case {
    const char* flag;
    const char* value;
    const char* expected;
  };
  for (auto [flag, value, expected] : std::initializer_list<Case>{
           {"--listen", "443", "e.g. 0.0.0.0:443"},
           {"--udp-listen", "host:443", "e.g. 0.0.0.0:443"},
           {"--public-url", "http://a.com", "https"},
           {"--public-url", "https://a.com,,https://b.com", "--public-url"},
           {"--edge-addr", "a.com", "has no port"},
           {"--tls", "acme", "only choice is internal"},
           {"--workers", "0", "from 1 to 256"},
           {"--workers", "many", "from 1 to 256"},
           {"--hello-timeout", "10", "10s"},
           {"--hello-timeout", "0s", "too short (expected at least 1ms)"},
           {"--drain-timeout", "-1s", "invalid duration"},
           {"--max-connections", "0", "whole number"},
           {"--max-handshakes", "none", "whole number"},
           {"--idle-timeout", "0s", "at least 1s"},
           {"--log-level", "loud", "debug, info, warn or error"},
           {"--data-dir", "", "is empty"},
           {"--config", "/nonexistent/node.conf", "/nonexistent/node.conf"},
       }) {
    Fixture<NodeCommand> f;
    std::string message = f.error({flag, value});
    EXPECT_THAT(message, testing::StartsWith(fmt::format("{}: ", flag))) << value;
    EXPECT_THAT(message, HasSubstr(expected)) << value;
  }
}

TEST(NodeCommand, BadValuesNameTheirVariable) {
  for (const char* name :
       {"LISTEN", "UDP_LISTEN", "PUBLIC_URL", "EDGE_ADDR", "TLS", "WORKERS", "HELLO_TIMEOUT", "DRAIN_TIMEOUT",
        "MAX_CONNECTIONS", "IDLE_TIMEOUT", "LOG_LEVEL", "CONFIG"}) {
    Fixture<NodeCommand> f;
    std::string variable = fmt::format("CULVERT_{}", name);
    f.variables[variable] = "not//good";
    EXPECT_THAT(f.error({}), testing::StartsWith(variable + ": "));
  }
}

TEST(NodeCommand, BadValuesNameTheirPlaceInTheFile) {
  struct Case {
    const char* section;
    const char* line;
    const char* key;
    const char* expected;
  };
  for (auto [section, line, key, expected] : std::initializer_list<Case>{
           {"edge", "listen = \"not//good\"", "edge.listen", "e.g. 0.0.0.0:443"},
           {"edge", "workers = 0", "edge.workers", "from 1 to 256"},
           {"edge", "workers = \"4\"", "edge.workers", "is text (expected a whole number without quotes)"},
           {"edge", "workers = 1.5", "edge.workers", "is a number with a fraction"},
           {"edge", "workers = -1", "edge.workers", "from 1 to 256"},
           {"edge", "workers = [1]", "edge.workers", "is a list"},
           {"edge", "hello-timeout = 10", "edge.hello-timeout", "is a number (expected text in quotes)"},
           {"edge", "hello-timeout = \"0s\"", "edge.hello-timeout", "too short"},
           {"edge", "drain-timeout = 2020-01-01", "edge.drain-timeout", "is a date or time"},
           {"hub", "public-url = \"https://a.com\"", "hub.public-url", "is text (expected a list of texts"},
           {"hub", "public-url = [1]", "hub.public-url", "is a list of something else"},
           {"hub", "public-url = [\"https://a.com\", \"x\"]", "hub.public-url", "https"},
           {"hub", "tls = true", "hub.tls", "is true or false"},
           {"log", "level = \"loud\"", "log.level", "debug, info, warn or error"},
           {"log", "level = {a = 1}", "log.level", "is a table"},
           // Unknown ones, with what is meant.
           {"edge", "wrokers = 4", "edge.wrokers", "did you mean edge.workers?"},
           {"hub", "workers = 4", "hub.workers", "write workers = ... below a line [edge]"},
           {"edge", "data-dir = \"/d\"", "edge.data-dir", "write data-dir above the first section"},
           {"edge", "config = \"x\"", "edge.config", "is unknown to `culvert node`; see its --help"},
       }) {
    Fixture<NodeCommand> f;
    std::string path = f.file("node.toml", fmt::format("# first\n[{}]\n  {}\n", section, line));
    const std::string message = f.error({"--config", path});
    EXPECT_THAT(message, testing::StartsWith(fmt::format("{}:3:3: {}: ", path, key))) << line;
    EXPECT_THAT(message, HasSubstr(expected)) << line;
  }
}

TEST(NodeCommand, UnknownKeysSayWhereTheyBelong) {
  struct Case {
    const char* content;
    const char* expected;
  };
  for (auto [content, expected] : std::initializer_list<Case>{
           {"token = 'x'\n", ":1:1: token: is unknown to `culvert node`"},
           {"workers = 4\n",
            ":1:1: workers: is unknown to `culvert node`; write workers = ... below a line [edge]"},
           {"log-level = 'info'\n", "write level = ... below a line [log]"},
           {"[edgy]\n", ":1:2: edgy: is unknown to `culvert node`"},
           {"[edge.more]\nworkers = 4\n", "edge.more: is unknown"},
       }) {
    Fixture<NodeCommand> f;
    EXPECT_THAT(f.error({"--config", f.file("node.toml", content)}), HasSubstr(expected)) << content;
  }
  Fixture<NodeCommand> f;
  EXPECT_TRUE(f.resolve({"--config", f.file("node.toml", "[edge]\n[log]\n")})) << "empty sections are fine";
}

TEST(NodeCommand, OnceMeansOnce) {
  Fixture<NodeCommand> f;
  EXPECT_THAT(f.error({"--workers", "1", "--workers", "2"}), HasSubstr("--workers: is given 2 times"));
}

// ---- agent

TEST(AgentCommand, CollectsServicesFromEverySource) {
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  f.variables["CULVERT_AGENT_SERVICES"] = R"([{"hostname":"a.com","origin":"x:1"}])";
  ASSERT_TRUE(f.resolve({"--service", "b.com=y:2,terminate", "--service", "c.com=z:3", "--max-streams", "5",
                         "--origin-timeout", "3s", "--idle-timeout", "4h", "--log-level", "debug"}));
  const agent::Config& config = f.command.config();
  ASSERT_EQ(config.services.size(), 3u);
  EXPECT_EQ(config.services[0].hostname.text(), "a.com");
  EXPECT_EQ(config.services[1].tls_mode, route::TlsMode::kTerminate);
  EXPECT_EQ(config.services[2].origin_port, 3);
  EXPECT_EQ(config.options.max_streams, 5u);
  EXPECT_EQ(config.options.origin_timeout, 3s);
  EXPECT_EQ(config.options.pump.idle, 4h);
  EXPECT_EQ(f.command.log_level(), LogLevel::kDebug);
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
    EXPECT_EQ(f.command.config().services[0].tls_mode, route::TlsMode::kTerminate);
  }
  Fixture<AgentCommand> f;
  f.variables["CULVERT_TOKEN"] = token().encode();
  EXPECT_THAT(f.error({"--config", f.file("agent.toml", "[[agent.services]]\nhostname = \"a.com\"\n")}),
              HasSubstr("agent.services: service 1: origin is missing"));
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

// ---- http

TEST(HttpCommand, TakesTheTargetAndHostname) {
  Fixture<HttpCommand> f;
  ASSERT_TRUE(f.resolve({"http://box:8080/", "--token", token().encode(), "--hostname", "App.Example.com"}));
  EXPECT_EQ(f.command.origin().host, "box");
  EXPECT_EQ(f.command.origin().port, 8080);
  ASSERT_TRUE(f.command.hostname());
  EXPECT_EQ(f.command.hostname()->text(), "app.example.com");
}

TEST(HttpCommand, UsesTheSavedTokenWhenNoneIsGiven) {
  Fixture<HttpCommand> f;
  f.variables["XDG_CONFIG_HOME"] = f.directory.string();
  EXPECT_THAT(f.error({"3000"}), HasSubstr("token: there is none"));

  Fixture<HttpCommand> g;
  g.variables["XDG_CONFIG_HOME"] = g.directory.string();
  EXPECT_EQ(save_token(g.directory / "culvert" / "token", token()), SavedToken{});
  ASSERT_TRUE(g.resolve({"3000"}));
  EXPECT_EQ(g.command.token().encode(), token().encode());
  EXPECT_EQ(std::filesystem::status(g.directory / "culvert" / "token").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(SaveToken, ATokenThatIsReplacedIsKeptAndNamed) {
  Fixture<HttpCommand> f;
  const auto place = f.directory / "culvert" / "token";
  hubapi::InviteToken other = token();
  other.invite_id.fill(0x77);
  EXPECT_EQ(save_token(place, token()), SavedToken{});
  EXPECT_EQ(save_token(place, token()), SavedToken{.was_there = true});
  auto replaced = save_token(place, other);
  ASSERT_TRUE(replaced);
  EXPECT_EQ(replaced->replaced, token().describe());
  const auto old = f.directory / "culvert" / "token.old";
  EXPECT_EQ(replaced->old_place, old);
  EXPECT_EQ(as_text(read_file(old, 10'000).value()), token().encode() + "\n");
  EXPECT_EQ(as_text(read_file(place, 10'000).value()), other.encode() + "\n");
  for (const auto& path : {place, old}) {
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  ASSERT_TRUE(replace_file(place, as_bytes("something else"), 0600));
  EXPECT_EQ(save_token(place, token())->replaced, "something that is not a token");
  EXPECT_EQ(as_text(read_file(old, 10'000).value()), "something else");
}

TEST(HttpCommand, WorksWithoutAHome) {
  Fixture<HttpCommand> f;
  f.variables.clear();
  EXPECT_TRUE(f.resolve({"3000", "--token", token().encode()}));
}

TEST(HttpCommand, RefusesBadTargetsAndNames) {
  {
    Fixture<HttpCommand> f;
    EXPECT_THAT(f.error({"https://x:1", "--token", token().encode()}), testing::StartsWith("TARGET: "));
  }
  {
    Fixture<HttpCommand> f;
    EXPECT_THAT(f.error({"3000", "--token", token().encode(), "--hostname", "*.a.com"}),
                HasSubstr("--hostname: "));
  }
}

TEST(ChooseHostname, ExactFirstThenUnderTheWildcard) {
  EXPECT_EQ(choose_hostname({"*.a.com", "b.com", "c.com"}, "quiet-heron")->text(), "b.com");
  EXPECT_EQ(choose_hostname({"*.a.com", "*.b.com"}, "quiet-heron")->text(), "quiet-heron.a.com");
  EXPECT_FALSE(choose_hostname({}, "quiet-heron"));
}

// ---- invite

std::vector<std::string> hub_flags() {
  return {"--hub-url",      "https://hub.example.com",
          "--hub-key",      SecretKey::from_seed(Bytes(32, 1))->public_key().to_string(),
          "--operator-key", std::string(42, 'k') + "A"};
}
std::vector<std::string> with_hub(std::vector<std::string> arguments) {
  auto hub = hub_flags();
  arguments.insert(arguments.end(), hub.begin(), hub.end());
  return arguments;
}

TEST(InviteCreate, BuildsTheRequest) {
  Fixture<InviteCreateCommand> f;
  ASSERT_TRUE(
      f.resolve(with_hub({"--hostnames", "A.com,*.b.com", "--name", "lap\"top", "--expires", "48h"})));
  EXPECT_EQ(f.command.request_json(),
            R"({"name":"lap\"top","hostnames":["a.com","*.b.com"],"expires_in_secs":172800})");
  Fixture<InviteCreateCommand> g;
  ASSERT_TRUE(g.resolve(with_hub({"--hostnames", "a.com", "--expires", "never"})));
  EXPECT_EQ(g.command.request_json(), R"({"hostnames":["a.com"]})");
}

TEST(InviteCreate, RefusesBadInput) {
  for (auto [arguments, expected] : std::initializer_list<std::pair<std::vector<std::string>, const char*>>{
           {with_hub({}), "--hostnames: is missing"},
           {with_hub({"--hostnames", "bad name.com"}), "--hostnames: "},
           {with_hub({"--hostnames", "a.com", "--expires", "soon"}), "--expires: "},
           {{"--hostnames", "a.com", "--hub-url", "http://x"}, "--hub-url: "},
           {{"--hostnames", "a.com", "--hub-key", "zz"}, "--hub-key: "},
           {{"--hostnames", "a.com", "--operator-key", "a b"}, "--operator-key: "},
           {{"--hostnames", "a.com", "--data-dir", "/nonexistent"},
            "or give --hub-url, --hub-key and --operator-key"},
           {{"--hostnames", "a.com", "--data-dir", "/nonexistent", "--hub-url", "https://x.com"},
            "--hub-key (or CULVERT_HUB_KEY): is missing"},
           {with_hub({"--hostnames", "a.com", "--expires", "999999d"}), "at most 3653d"},
           {{"--hostnames", "a.com", "--operator-key", "short"}, "43 characters"},
       }) {
    Fixture<InviteCreateCommand> f;
    std::string message = f.error(arguments);
    EXPECT_THAT(message, HasSubstr(expected));
    EXPECT_THAT(message, Not(HasSubstr("a b")));
  }
}

TEST(InviteCreate, TakesHostnamesOneByOneAndTogether) {
  Fixture<InviteCreateCommand> f;
  ASSERT_TRUE(f.resolve(with_hub({"--hostnames", "a.com", "--hostnames", "b.com,c.com"})));
  EXPECT_EQ(f.command.request_json(), R"({"hostnames":["a.com","b.com","c.com"]})");
  Fixture<InviteCreateCommand> g;
  ASSERT_TRUE(g.resolve(with_hub(
      {"--config", g.file("i.toml", "[invite]\nhostnames = [\"a.com\", \"*.b.com\"]\nexpires = \"1h\"\n")})));
  EXPECT_EQ(g.command.request_json(), R"({"hostnames":["a.com","*.b.com"],"expires_in_secs":3600})");
}

TEST(InviteCreate, TheTokenStandsApartFromTheFacts) {
  auto invite = read_created_invite(
      R"({"status":"ok","token":"cvt_inv_1.x","invite_id":"AAEC","tenant_id":"ff","name":"laptop",)"
      R"("hostnames":["a.com","*.b.com"],"expires_at":1700000000})");
  ASSERT_TRUE(invite) << invite.error().message;
  EXPECT_EQ(invite->token, "cvt_inv_1.x");
  const std::string facts = fmt::format("{}", fmt::join(invite->facts, "\n"));
  EXPECT_THAT(facts, HasSubstr("a.com,*.b.com"));
  EXPECT_THAT(facts, HasSubstr("2023-11-14 22:13 UTC"));
  EXPECT_THAT(facts, Not(HasSubstr("cvt_inv_1")));
  EXPECT_THAT(read_created_invite(R"({"token":"t","expires_at":null})")->facts,
              testing::Contains(HasSubstr("never")));
  for (std::string_view bad : {"", "[]", "{}", "{\"token\":7}"})
    EXPECT_FALSE(read_created_invite(bad)) << bad;
}

TEST(InviteList, ReadsPages) {
  auto page = read_invite_page(
      R"({"invites":[{"invite_id":"A","name":"n","status":"live","expires_at":null,"created_at":1700000000,)"
      R"("hostnames":["a.com"]},{"invite_id":"B"}],"next":"B"})");
  ASSERT_TRUE(page) << page.error().message;
  ASSERT_EQ(page->rows.size(), 2u);
  EXPECT_EQ(page->rows[0],
            (std::vector<std::string>{"A", "n", "live", "never", "2023-11-14 22:13 UTC", "a.com"}));
  EXPECT_EQ(page->next, "B");
  EXPECT_EQ(read_invite_page(R"({"invites":[]})")->next, std::nullopt);
  EXPECT_FALSE(read_invite_page("{}"));
}

// A hub may be of another version than this program, or not honest.
TEST(InviteList, ShowsNoControlCharactersOfOthers) {
  auto page = read_invite_page(
      "{\"invites\":[{\"invite_id\":\"\\u001b[2J\",\"name\":\"a\xe2\x80\xae"
      "b\xc2\x9b"
      "c\",\"status\":\"live\\n\","
      "\"hostnames\":[\"x\\u202e.com\"]}]}");
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->rows[0], (std::vector<std::string>{"\\x1b[2J", "a\\u202eb\\u009bc", "live\\x0a", "never",
                                                     "-", "x\\u202e.com"}));
  auto created =
      read_created_invite("{\"token\":\"t\",\"name\":\"a\xe2\x80\xae\",\"hostnames\":[\"\\u009b\"]}");
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_THAT(created->facts, testing::Contains("name      a\\u202e"));
  EXPECT_THAT(created->facts, testing::Contains("hostnames \\u009b"));
}

TEST(TextTable, AlignsCharactersAndEscapesControls) {
  EXPECT_EQ(
      format_table({{"A", "B"}, {"\xc3\xa9\xc3\xa9", "x"}, {"\x1b[m", "\xe2\x80\xae"}, {"\xc0\x9b", ""}}),
      "A         B\n"
      "\xc3\xa9\xc3\xa9        x\n"
      "\\x1b[m    \\u202e\n"
      "\\xc0\\x9b  \n");
}

TEST(Message, IsOneLineAndEndsNothingWhenItCannotBeWritten) {
  testing::internal::CaptureStderr();
  print_message("hub: {}", "no\nculvert: warning\x1b[m");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "culvert: hub: no\\x0aculvert: warning\\x1b[m\n");
  for (bool has_reader : {true, false}) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    if (!has_reader) close(ends[0]);
    pid_t child = fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_IGN);
      dup2(has_reader ? ::open("/dev/full", O_WRONLY) : ends[1], STDERR_FILENO);
      dup2(STDERR_FILENO, STDOUT_FILENO);
      print_message("the connection to the edge was lost");
      print_line("GET /");
      // What ends it is the bad usage, not the message about it.
      std::_Exit(run_program({"nonsense"}, [](const std::string&) { return std::nullopt; }, {}));
    }
    close(ends[1]);
    if (has_reader) close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 2);
  }
}

// A reader that takes nothing, like a pager that waits for a key.
TEST(Message, NothingWaitsForAStuckReader) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    standard_error().start_thread();
    standard_output().start_thread();
    for (int i = 0; i < 20'000; ++i) {
      print_line("GET /{}", i);
      print_message("connected again");
    }
    drain_output();
    std::_Exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  close(ends[0]);
  close(ends[1]);
}

TEST(Foreground, SpeaksOfOpenConnectionsOnlyWhereThereAreSome) {
  EXPECT_EQ(stopping_notice(0), "");
  EXPECT_THAT(stopping_notice(1), HasSubstr("1 open connection has 2 s"));
  EXPECT_THAT(stopping_notice(2), HasSubstr("2 open connections have 2 s"));
}

TEST(InviteRevoke, ChecksTheId) {
  Fixture<InviteRevokeCommand> f;
  EXPECT_TRUE(f.resolve(with_hub({"AAECAwQFBgcICQoLDA0ODw"})));
  Fixture<InviteRevokeCommand> g;
  EXPECT_THAT(g.error(with_hub({"../../v1"})), testing::StartsWith("ID: "));
}

// ---- the program

struct RunResult {
  int status;
  std::string out;
  std::string err;
};
RunResult run(std::vector<std::string> arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  int status = run_program(std::move(arguments), [](const std::string&) { return std::nullopt; });
  std::fflush(nullptr);
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(Program, HelpOfEveryCommandHasExamples) {
  for (const std::vector<std::string>& command : std::initializer_list<std::vector<std::string>>{
           {},
           {"node"},
           {"agent"},
           {"http"},
           {"invite"},
           {"invite", "create"},
           {"invite", "list"},
           {"invite", "revoke"},
           {"ca"},
           {"ca", "export"},
           {"token"},
           {"token", "inspect"},
           {"version"},
       }) {
    auto arguments = command;
    arguments.push_back("--help");
    RunResult result = run(arguments);
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.out, HasSubstr("Examples:")) << testing::PrintToString(command);
  }
}

TEST(Program, BadUsageIsTwoAndSaysWhatAndWhere) {
  for (auto [arguments, expected] : std::initializer_list<std::pair<std::vector<std::string>, const char*>>{
           {{}, "culvert --help"},
           {{"nope"}, "\"nope\" is no command of culvert"},
           {{"invite"}, "culvert invite --help"},
           {{"invite", "make"}, "\"make\" is no command of culvert invite"},
           {{"node", "--nope"}, "culvert node --help"},
           {{"node", "--listen"}, "culvert node --help"},
           {{"node", "stray"}, "culvert node --help"},
           {{"http"}, "TARGET: is missing. See `culvert http --help`"},
           {{"invite", "revoke"}, "ID: is missing."},
           {{"invite", "revoke", "a", "b"}, "\"b\" is one word too many. See `culvert invite revoke --help`"},
           {{"invite", "list", "--json=x"}, "--json: takes no value."},
           {{"ca", "export", "--out"}, "--out: needs a value."},
           {{"ca", "export", "--out=", "--data-dir", "/d"}, "--out: is empty"},
           {{"ca", "export", "--config="}, "--config: is empty"},
           {{"ca", "export", "--config=a", "--config=b"}, "--config: is given 2 times"},
           {{"http", "--", "--hostname="}, "TARGET: "},
           {{"node", "--listen", "x", "--data-dir", "/d"}, "culvert: --listen: "},
       }) {
    RunResult result = run(arguments);
    EXPECT_EQ(result.status, 2) << testing::PrintToString(arguments);
    EXPECT_THAT(result.err, testing::StartsWith("culvert: "));
    EXPECT_THAT(result.err, HasSubstr(expected)) << testing::PrintToString(arguments);
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1);
  }
}

TEST(Program, FailureAtRunTimeIsOne) {
  RunResult result = run({"ca", "export", "--data-dir", "/nonexistent"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, testing::StartsWith("culvert: "));
}

TEST(Program, InspectShowsNoSecret) {
  std::string text = token().encode();
  RunResult result = run({"token", "inspect", "--token", text});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("https://hub.example.com:8443"));
  EXPECT_THAT(result.out, Not(HasSubstr("IiIiIi")));  // base64url of the secret
}

TEST(Program, AStrayWordMayBeASecret) {
  std::string text = token().encode();
  for (const std::vector<std::string>& arguments : std::initializer_list<std::vector<std::string>>{
           {"token", "inspect", text},
           {"token", "inspect", "--tokn", text},
           {"token", "inspect", "--tokn=" + text},
           {text},
           {"http", text},
           {"http", "3000", text},
           {"agent", text},
           {"--token", text, "http", "3000"},
           {"--tokn=" + text, "http", "3000"},
           {text, "agent"},
           {"token", "--token", text, "inspect"},
           {"agent", "-t" + text},
           {"agent", "-t=" + text},
       }) {
    RunResult result = run(arguments);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, Not(HasSubstr("cvt_inv_1"))) << result.err;
  }
}

TEST(Program, VersionNamesProtocols) {
  RunResult result = run({"version"});
  EXPECT_THAT(result.out, HasSubstr("tunnel protocol"));
  RunResult flag = run({"--version"});
  EXPECT_EQ(flag.status, 0);
  EXPECT_EQ(flag.out, result.out);
}

TEST(Program, AnInviteIdMayBeginWithADash) {
  for (const char* id : {"-AECAwQFBgcICQoLDA0ODw", "--ECAwQFBgcICQoLDA0ODw"}) {
    RunResult result = run({"invite", "revoke", id, "--data-dir", "/nonexistent"});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, HasSubstr("/nonexistent")) << "it should get as far as looking for the node";
  }
  EXPECT_THAT(run({"invite", "revoke", "-x"}).err, HasSubstr("culvert invite revoke --help"));
}

TEST(Program, LostOutputIsAFailure) {
  for (const char* word : {"version", "--version", "--help"}) {
    pid_t child = fork();
    if (child == 0) {
      if (std::freopen("/dev/full", "w", stdout) == nullptr) std::_Exit(99);
      std::_Exit(run_program({word}, [](const std::string&) { return std::nullopt; }));
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1) << word;
  }
}

TEST(Program, AReaderThatLeftIsNoNews) {
  for (const char* word : {"version", "--help"}) {
    std::array<int, 2> output{}, complaints{};
    ASSERT_EQ(pipe(output.data()), 0);
    ASSERT_EQ(pipe(complaints.data()), 0);
    close(output[0]);
    pid_t child = fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_IGN);
      dup2(output[1], STDOUT_FILENO);
      dup2(complaints[1], STDERR_FILENO);
      std::_Exit(run_program({word}, [](const std::string&) { return std::nullopt; }));
    }
    close(output[1]);
    close(complaints[1]);
    std::array<char, 100> said{};
    EXPECT_EQ(::read(complaints[0], said.data(), said.size()), 0) << said.data();
    close(complaints[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1) << word;
  }
}

TEST(Program, WarnsOfUnknownVariables) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  int status = run_program({"version"}, [](const std::string&) { return std::nullopt; },
                           {"CULVERT_TOKEN", "CULVERT_CONFIG", "CULVERT_HUBURL", "CULVERT_SOMETHING_ELSE"});
  testing::internal::GetCapturedStdout();
  std::string err = testing::internal::GetCapturedStderr();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(std::ranges::count(err, '\n'), 2) << err;
  EXPECT_THAT(err, HasSubstr("CULVERT_HUBURL is not known and has no effect; did you mean CULVERT_HUB_URL?"));
  EXPECT_THAT(err, HasSubstr("CULVERT_SOMETHING_ELSE is not known and has no effect\n"));
}

}  // namespace
}  // namespace culvert::cli
