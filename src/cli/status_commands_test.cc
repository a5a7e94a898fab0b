#include "cli/status_commands.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

constexpr const char* kHub =
    R"({"status":"degraded","version":"1","hub_key":"ab","started_at":1700000000,"urls":["https://h.eu"],"tenants":3,
        "suspended_tenants":1,"agents":2,"routes":5,"edges":1,"operator_keys":0,"database":"failing",
        "database_failing_since":1700000060,"revision":9,"warnings":["one","two\nlines"]})";

TEST(HubStatus, IsShownWithItsWarnings) {
  const std::string text = format_hub_status(kHub, {}).value();
  EXPECT_THAT(text, HasSubstr("status             degraded\n"));
  EXPECT_THAT(text, HasSubstr("failing since      2023-11-14 22:14 UTC\n"));
  EXPECT_THAT(text, HasSubstr("URLs               https://h.eu\n"));
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

TEST(AgentStatus, ShowsServicesWithReasonsAndEdges) {
  constexpr const char* kAgent =
      R"({"status":"degraded","version":"1","agent_id":"ab","tenant_id":"cd","suspended":false,
          "services":[{"hostname":"a.eu","origin":"localhost:1","tls_mode":"terminate","status":"accepted"},
                      {"hostname":"b.eu","origin":"localhost:2","tls_mode":"passthrough","status":"refused",
                       "reason":"not granted"}],
          "edges":[{"edge_id":"ef","addresses":["192.0.2.1:443"],"connected":true}],
          "faults":["the hub does not accept b.eu: not granted"]})";
  const std::string text = format_agent_status(kAgent, {}).value();
  EXPECT_THAT(text, HasSubstr("a.eu      localhost:1  terminate    accepted  -\n"));
  EXPECT_THAT(text, HasSubstr("b.eu      localhost:2  passthrough  refused   not granted\n"));
  EXPECT_THAT(text, HasSubstr("ef    192.0.2.1:443  yes\n"));
  EXPECT_THAT(text, HasSubstr("\nfault: the hub does not accept b.eu: not granted\n"));
  EXPECT_FALSE(format_agent_status("{}", {}));
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
