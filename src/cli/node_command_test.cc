#include "cli/node_command.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

TEST(NodeCommand, WithoutAnySourceTheDefaultsStay) {
  Fixture<NodeCommand> f;
  ASSERT_TRUE(f.resolve({}));
  const node::Config& config = f.command.config();
  EXPECT_FALSE(config.edge.tcp_listen);
  EXPECT_FALSE(config.edge.udp_listen);
  EXPECT_TRUE(config.public_urls.empty());
  EXPECT_TRUE(config.edge_addrs.empty());
  EXPECT_EQ(config.edge.hello_timeout, edge::Options().hello_timeout);
  EXPECT_EQ(f.command.log_options()->level, LogLevel::kInfo);
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
                         "--balance",
                         "least-connections",
                         "--metrics-listen",
                         "127.0.0.1:9100",
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
  EXPECT_EQ(config.edge.balance, route::Balance::kLeastConnections);
  EXPECT_EQ(config.ops.listen->to_string(), "127.0.0.1:9100");
  EXPECT_EQ(f.command.log_options()->level, LogLevel::kError);
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
           {"hub", "public-url = 1", "hub.public-url", "is a number (expected a list of texts"},
           {"hub", "public-url = \"https://a.com,x\"", "hub.public-url", "https"},
           {"hub", "public-url = '[\"https://a.com\"'", "hub.public-url", "the JSON list"},
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

TEST(NodeCommand, SingleFilesMayBeElsewhere) {
  const std::vector<std::string> flags = {
      "--node-key-file", "/k/node",      "--operator-key-file", "/k/op",      "--ca-dir",
      "/k/ca",           "--route-file", "/r/routes",           "--database", "sqlite:/d/hub.db"};
  const auto expect_places = [](const node::Config& config) {
    EXPECT_EQ(config.places.node_key, "/k/node");
    EXPECT_EQ(config.places.operator_key, "/k/op");
    EXPECT_EQ(config.places.ca_directory, "/k/ca");
    EXPECT_EQ(config.places.routes, "/r/routes");
    EXPECT_EQ(config.places.database, "/d/hub.db");
    EXPECT_TRUE(config.database_url.empty());
  };
  Fixture<NodeCommand> by_flag;
  ASSERT_TRUE(by_flag.resolve(flags));
  expect_places(by_flag.command.config());
  Fixture<NodeCommand> by_variable;
  by_variable.variables = {{"HOME", "/home/u"},
                           {"CULVERT_NODE_KEY_FILE", "/k/node"},
                           {"CULVERT_OPERATOR_KEY_FILE", "/k/op"},
                           {"CULVERT_CA_DIR", "/k/ca"},
                           {"CULVERT_ROUTE_FILE", "/r/routes"},
                           {"CULVERT_DATABASE", "sqlite:///d/hub.db"}};
  ASSERT_TRUE(by_variable.resolve({"--data-dir", "/data"}));
  expect_places(by_variable.command.config());
  EXPECT_EQ(by_variable.command.config().data_dir, "/data");
  Fixture<NodeCommand> by_file;
  ASSERT_TRUE(by_file.resolve(
      {"--config", by_file.file("node.toml",
                                "node-key-file = \"/k/node\"\nca-dir = \"/k/ca\"\n"
                                "[hub]\noperator-key-file = \"/k/op\"\ndatabase = \"sqlite:/d/hub.db\"\n"
                                "[edge]\nroute-file = \"/r/routes\"\n")}));
  expect_places(by_file.command.config());
  Fixture<NodeCommand> none;
  ASSERT_TRUE(none.resolve({"--data-dir", "/data"}));
  EXPECT_TRUE(none.command.config().places.node_key.empty());
  EXPECT_TRUE(none.command.config().places.database.empty());
}

TEST(NodeCommand, TheDatabaseIsAUrlOfOneOfTwoKinds) {
  struct Case {
    const char* url;
    const char* file;
  };
  for (const auto& [url, file] : std::initializer_list<Case>{{"sqlite:hub.db", "hub.db"},
                                                             {"sqlite:/d/hub.db", "/d/hub.db"},
                                                             {"sqlite:///d/hub.db", "/d/hub.db"},
                                                             {"postgres://u@h/d", ""}}) {
    Fixture<NodeCommand> f;
    ASSERT_TRUE(f.resolve({"--database", url})) << url;
    EXPECT_EQ(f.command.config().places.database, file) << url;
    EXPECT_EQ(f.command.config().database_url.empty(), *file != '\0') << url;
  }
  for (const char* bad :
       {"sqlite:", "sqlite://hub.db", "sqlite:///", "sqlite:/d/", "/d/hub.db", "mysql://h/d"}) {
    Fixture<NodeCommand> f;
    EXPECT_THAT(f.error({"--database", bad}), HasSubstr("sqlite:PATH")) << bad;
  }
}

}  // namespace
}  // namespace culvert::cli
