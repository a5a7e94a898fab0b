#include "cli/status_commands.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

constexpr const char* kHub =
    R"({"status":"degraded","version":"1","hub_key":"ab","started_at":1700000000,"urls":["https://h.eu"],"tenants":3,
        "suspended_tenants":1,"agents":2,"routes":5,"edges":1,"certificates":3,
        "failing_certificates":1,"first_expiry":1700000120,"operator_keys":0,"database":"failing",
        "database_failing_since":1700000060,"revision":9,"open_connections":1007,"bytes_in":1500,
        "busiest_routes":[{"name":"a.eu","tenant_id":"cd","tenant_name":"laptop","connections":1000,"bytes_in":999,"bytes_out":12345678}],
        "more_busiest_routes":990,
        "agent_tunnels":[{"agent_id":"ef","remote":"192.0.2.7:5000","rtt_us":850,"age_secs":7200,"connections":12,
                          "draining":false,"silent":true}],
        "more_agent_tunnels":0,"former_processes":[{"pid":4711,"connections":3}],
        "refused":[{"wanted":"x.eu","invite_name":"laptop","reason":"the invite does not grant x.eu"}],
        "soonest_certificates":[{"name":"a.eu","expires_in_secs":5356800}],
        "warnings":["one","two\nlines"]})";

TEST(HubStatus, IsShownWithItsWarnings) {
  const std::string text = format_hub_status(kHub, {}).value();
  EXPECT_THAT(text, HasSubstr("status               degraded\n"));
  EXPECT_THAT(text, HasSubstr("failing since        2023-11-14 22:14 UTC\n"));
  EXPECT_THAT(text, HasSubstr("URLs                 https://h.eu\n"));
  EXPECT_THAT(text, HasSubstr("certificates         3\nfailing of these     1\n"
                              "first expiry         2023-11-14 22:15 UTC\n"));
  EXPECT_THAT(text, HasSubstr("ROUTE  INVITE  OPEN  REFUSED  IN     OUT\n"
                              "a.eu   laptop  1000  -        999 B  12.3 MB\n"
                              "and 990 more: culvert traffic --by route\n"));
  EXPECT_THAT(text, HasSubstr("ef     192.0.2.7:5000  850 us      2 h  12    no      yes\n"));
  EXPECT_THAT(text, HasSubstr("FORMER PROCESS  CONNECTIONS\n4711            3\n"));
  EXPECT_THAT(text, HasSubstr("x.eu     laptop  the invite does not grant x.eu\n"));
  EXPECT_THAT(text, HasSubstr("a.eu         62 d\n"));
  EXPECT_THAT(text, HasSubstr("\nwarning: one\nwarning: two\\x0alines\n"));
  EXPECT_THAT(format_hub_status(kHub, {.format = OutputFormat::kJson}).value(), HasSubstr("\"warnings\""));
  EXPECT_FALSE(format_hub_status("{}", {}));
  EXPECT_FALSE(format_hub_status("<html>", {}));
}

TEST(HubHealth, IsAFaultOrNone) {
  EXPECT_EQ(hub_fault(R"({"status":"ok","faults":[]})").value(), std::nullopt);
  EXPECT_EQ(hub_fault(R"({"status":"degraded","faults":["a","b"]})").value(), "degraded; a; b");
  EXPECT_FALSE(hub_fault("{}"));
  EXPECT_FALSE(hub_fault(R"({"status":"degraded"})"));
}

TEST(Health, IsALineOrADocument) {
  EXPECT_EQ(format_health("ok", {}, {}).value(), "ok\n");
  EXPECT_EQ(format_health("degraded", {"a"}, {}).value(), "") << "people read the error";
  const OutputOptions json{.format = OutputFormat::kJson};
  EXPECT_EQ(format_health("ok", {}, json).value(), "{\"status\":\"ok\",\"faults\":[]}\n");
  EXPECT_EQ(format_health("degraded", {"a", "b\nc"}, json).value(),
            "{\"status\":\"degraded\",\"faults\":[\"a\",\"b\\nc\"]}\n");
}

TEST(AgentStatus, ShowsServicesWithReasonsAndEdges) {
  constexpr const char* kAgent =
      R"({"status":"degraded","version":"1","agent_id":"ab","tenant_id":"cd","suspended":false,
          "services":[{"service":"a.eu","origin":"localhost:1","tls_mode":"terminate","status":"accepted",
                       "connections":3,"bytes_in":2500000},
                      {"service":"b.eu","origin":"localhost:2","tls_mode":"passthrough","status":"refused",
                       "reason":"not granted"}],
          "edges":[{"edge_id":"ef","addresses":["192.0.2.1:443"],"connected":true,"remote":"192.0.2.1:443",
                    "rtt_us":12345}],
          "faults":["the hub does not accept b.eu: not granted"]})";
  const std::string text = format_agent_status(kAgent, {}).value();
  EXPECT_THAT(text, HasSubstr("a.eu     localhost:1  terminate    -     -          accepted  -            -  "
                              "     3     2.5 MB  -\n"));
  EXPECT_THAT(text, HasSubstr("b.eu     localhost:2  passthrough  -     -          refused   not granted  -  "
                              "     -     -       -\n"));
  EXPECT_THAT(text, HasSubstr("ef    192.0.2.1:443  yes        192.0.2.1:443  12.3 ms\n"));
  EXPECT_THAT(text, HasSubstr("\nfault: the hub does not accept b.eu: not granted\n"));
  EXPECT_FALSE(format_agent_status("{}", {}));
}

constexpr const char* kEdge =
    R"({"status":"degraded","version":"1","edge_id":"ab","name":"paris","region":"","started_at":1700000000,
        "addresses":["192.0.2.1:443"],"hub_urls":["https://h.eu"],"hub":"away","hub_since":1700000060,
        "hub_reason":"refused","routes":7,"routes_version":"1f.12","routes_as_of":1700000060,
        "certificates":4,"first_expiry":null,"tunnels":2,
        "connections":3,"faults":["the hub has\nnot answered"]})";

TEST(EdgeStatus, IsShownWithItsFaults) {
  const std::string text = format_edge_status(kEdge, {}).value();
  EXPECT_THAT(text, HasSubstr("hub                  away\nsince                2023-11-14 22:14 UTC\n"));
  EXPECT_THAT(text, HasSubstr("routes               7\nroutes version       1f.12\n"));
  EXPECT_THAT(text, HasSubstr("region               -\n"));
  EXPECT_THAT(text, HasSubstr("certificates         4\nfirst expiry         -\n"));
  EXPECT_THAT(text, HasSubstr("tunnels              2\n"));
  EXPECT_THAT(text, HasSubstr("\nfault: the hub has\\x0anot answered\n"));
  EXPECT_THAT(format_edge_status(kEdge, {.format = OutputFormat::kYaml}).value(),
              HasSubstr("hub_reason: refused"));
  EXPECT_FALSE(format_edge_status("{}", {}));
  EXPECT_EQ(edge_fault(kEdge).value(), "degraded; the hub has\\x0anot answered");
  EXPECT_EQ(edge_fault(R"({"status":"ready","faults":[]})").value(), std::nullopt);
}

std::string edge_info(std::string_view metrics) {
  return fmt::format("edge_id = {}\n{}", SecretKey::from_seed(Bytes(32, 7))->public_key().to_string(),
                     metrics);
}

TEST(EdgeStatus, IsThatOfTheEdgeInTheDataDirectory) {
  Fixture<StatusCommand> f;
  f.file("edge.info", edge_info(""));
  ASSERT_TRUE(f.resolve({"--data-dir", f.directory.string()}));
  auto nowhere = f.command.run();
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, HasSubstr("--metrics-listen"));
  EXPECT_EQ(f.command.failure_status(), ExitStatus::kFailed);

  Fixture<HealthCommand> g;
  g.file("edge.info", edge_info("metrics = [::]:1\n"));
  ASSERT_TRUE(g.resolve({"--data-dir", g.directory.string()}));
  auto silent = g.command.run();
  ASSERT_FALSE(silent);
  EXPECT_THAT(silent.error().message, HasSubstr("nothing answers at 127.0.0.1:1"));
  EXPECT_THAT(silent.error().message, HasSubstr("Is `culvert edge` running?"));
  EXPECT_EQ(g.command.failure_status(), ExitStatus::kUnreachable);

  Fixture<StatusCommand> h;
  h.file("edge.info", edge_info("metrics = [::]:1\n"));
  EXPECT_THAT(h.error({"--data-dir", h.directory.string(), "--hub-url", "https://h.eu"}),
              HasSubstr("--hub-key"))
      << "a hub that is named is meant";
}

TEST(AgentCommands, NeedTheAddress) {
  Fixture<AgentHealthCommand> without;
  EXPECT_THAT(without.error({}), HasSubstr("--metrics-listen (or CULVERT_METRICS_LISTEN): is missing"));
  Fixture<AgentHealthCommand> with;
  with.variables["CULVERT_METRICS_LISTEN"] = "0.0.0.0:1";
  ASSERT_TRUE(with.resolve({}));
  auto done = with.command.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(with.command.failure_status(), ExitStatus::kUnreachable);
  EXPECT_THAT(done.error().message, HasSubstr("nothing answers at 127.0.0.1:1: "));
}

}  // namespace
}  // namespace culvert::cli
