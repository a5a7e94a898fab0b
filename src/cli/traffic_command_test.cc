#include "cli/traffic_command.h"

#include "base/json.h"
#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

std::string answer(int64_t clock_ms, std::string_view entries) {
  return fmt::format(R"({{"status":"ok","clock_ms":{},"traffic":[{}]}})", clock_ms, entries);
}
std::string entry(std::string_view name, uint64_t in, uint64_t out) {
  return fmt::format(R"({{"name":"{}","tenant_id":"ab","bytes_in":{},"bytes_out":{}}})", name, in, out);
}

TEST(Traffic, RatesAreOfTwoReadings) {
  const std::string now = answer(3000, entry("a.eu", 5000, 100) + "," + entry("new.eu", 9, 9));
  const std::string rated = add_rates(answer(1000, entry("a.eu", 1000, 100)), now).value();
  EXPECT_THAT(rated, HasSubstr(R"("bytes_in_per_sec":2000,"bytes_out_per_sec":0)"));
  const auto body = parse_json_object("rated", rated).value();
  EXPECT_FALSE(body.at("traffic").as_array()[1].as_object().contains("bytes_in_per_sec"));
}

TEST(Traffic, NothingHasARateThatWasCountedAnewOrReadOnce) {
  const std::string one = answer(1000, entry("a.eu", 1000, 100));
  EXPECT_THAT(add_rates(one, one).value(), Not(HasSubstr("per_sec")));
  EXPECT_THAT(add_rates(one, answer(3000, entry("a.eu", 10, 100))).value(), Not(HasSubstr("per_sec")));
  EXPECT_THAT(add_rates(answer(9000, entry("a.eu", 1, 1)), one).value(), Not(HasSubstr("per_sec")))
      << "another hub";
  EXPECT_FALSE(add_rates(one, "{}"));
  EXPECT_FALSE(add_rates(one, "<html>"));
}

TEST(Traffic, AsksForWhatWasChosen) {
  const std::vector<std::string> hub = {"--hub-url",      "https://h.eu",
                                        "--hub-key",      token().hub_key.to_string(),
                                        "--operator-key", std::string(43, 'A')};
  const auto path_of = [&](std::vector<std::string> arguments) {
    Fixture<TrafficCommand> f;
    arguments.insert(arguments.end(), hub.begin(), hub.end());
    const auto resolved = f.resolve(std::move(arguments));
    EXPECT_TRUE(resolved) << resolved.error().message;
    return f.command.path();
  };
  EXPECT_EQ(path_of({}), "/v1/traffic?by=route&sort=connections");
  EXPECT_EQ(path_of({"--by", "tenant", "--sort", "bytes", "--limit", "5"}),
            "/v1/traffic?by=tenant&sort=bytes&limit=5");
  EXPECT_EQ(path_of({"--watch"}), "/v1/traffic?by=route&sort=connections&limit=20");
  Fixture<TrafficCommand> f;
  EXPECT_THAT(f.error({"--by", "hostname"}), HasSubstr("expected route, tenant or agent"));
}

}  // namespace
}  // namespace culvert::cli
