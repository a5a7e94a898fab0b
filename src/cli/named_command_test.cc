#include "cli/named_command.h"

#include "cli/command_fixture.h"
#include "cli/edge_edit_command.h"
#include "cli/invite_edit_command.h"

namespace culvert::cli {
namespace {

constexpr const char* kId = "dlh6inyAwMeECNGqOTZxDA";

std::vector<std::string> with_hub(std::vector<std::string> arguments) {
  for (const std::string& word :
       {std::string("--hub-url"), std::string("https://hub.example.com"), std::string("--hub-key"),
        SecretKey::from_seed(Bytes(32, 1))->public_key().to_string(), std::string("--operator-key"),
        std::string(42, 'k') + "A"}) {
    arguments.push_back(word);
  }
  return arguments;
}

Result<std::string> no_call(const std::string& path) {
  ADD_FAILURE() << path;
  return fail(ErrorCode::kIo, "called");
}

TEST(FindInvite, TakesIdsAsTheyAre) {
  EXPECT_EQ(find_invite(kId, no_call).value(), kId);
  const std::string tenant = SecretKey::from_seed(Bytes(32, 3))->public_key().to_string();
  EXPECT_EQ(find_invite(tenant, no_call).value(), tenant);
}

TEST(FindInvite, LooksANameUpOnAllPages) {
  const auto fetch = [](std::string path) -> Result<std::string> {
    if (path == "/v1/invites")
      return R"({"invites":[{"invite_id":"a","name":"one","status":"live"}],"next":"a"})";
    EXPECT_EQ(path, "/v1/invites?after=a");
    return R"({"invites":[{"invite_id":"b","name":"two","status":"suspended"},
                          {"invite_id":"c","name":"two","status":"revoked"},
                          {"invite_id":"d","name":"three","status":"live"},
                          {"invite_id":"e","name":"three","status":"expired"}]})";
  };
  EXPECT_EQ(find_invite("one", fetch).value(), "a");
  EXPECT_EQ(find_invite("two", fetch).value(), "b") << "a revoked one does not count";
  const auto unknown = find_invite("four", fetch);
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(unknown.error().message, HasSubstr("four"));
  const auto several = find_invite("three", fetch);
  EXPECT_EQ(several.error().code, ErrorCode::kConflict);
  EXPECT_THAT(several.error().message, HasSubstr("d, e"));
}

TEST(FindInvite, SaysWhatIsWrongWithTheAnswer) {
  for (const char* bad : {"", "[]", "{}", R"({"invites":[{}]})", R"({"invites":{}})"}) {
    EXPECT_FALSE(find_invite("one", [bad](std::string) -> Result<std::string> { return bad; })) << bad;
  }
}

TEST(InviteEdit, BuildsTheRequest) {
  Fixture<InviteEditCommand> f;
  ASSERT_TRUE(f.resolve(with_hub({"home", "--add-hostnames", "A.com", "--add-hostnames", "b.com",
                                  "--remove-hostnames", "*.c.com", "--name", "work", "--expires", "never"})));
  EXPECT_EQ(
      f.command.request_json(),
      R"({"name":"work","add_hostnames":["a.com","b.com"],"remove_hostnames":["*.c.com"],"expires_in_secs":null})");
  Fixture<InviteEditCommand> g;
  ASSERT_TRUE(g.resolve(with_hub({"home", "--hostnames", "a.com", "--expires", "1h"})));
  EXPECT_EQ(g.command.request_json(), R"({"hostnames":["a.com"],"expires_in_secs":3600})");
}

TEST(InviteEdit, RefusesWhatChangesNothingOrContradictsItself) {
  Fixture<InviteEditCommand> f;
  EXPECT_THAT(f.error(with_hub({"home"})), HasSubstr("nothing is to be changed"));
  Fixture<InviteEditCommand> g;
  EXPECT_THAT(g.error(with_hub({"home", "--hostnames", "a.com", "--add-hostnames", "b.com"})),
              HasSubstr("--hostnames"));
  Fixture<InviteEditCommand> h;
  EXPECT_THAT(h.error(with_hub({"home", "--add-hostnames", "bad name"})), HasSubstr("--add-hostnames"));
}

TEST(EdgeEdit, BuildsTheRequest) {
  Fixture<EdgeEditCommand> f;
  ASSERT_TRUE(f.resolve(with_hub({"paris", "--name", "lyon", "--region", "eu-west"})));
  EXPECT_EQ(f.command.request_json(), R"({"name":"lyon","region":"eu-west"})");
  Fixture<EdgeEditCommand> g;
  g.variables["CULVERT_EDGE_NAME"] = "lyon";
  ASSERT_TRUE(g.resolve(with_hub({"paris"})));
  EXPECT_EQ(g.command.request_json(), R"({"name":"lyon"})");
  Fixture<EdgeEditCommand> h;
  ASSERT_TRUE(h.resolve(with_hub({"paris", "--no-region"})));
  EXPECT_EQ(h.command.request_json(), R"({"region":""})");
}

TEST(EdgeEdit, RefusesWhatChangesNothingOrContradictsItself) {
  Fixture<EdgeEditCommand> f;
  EXPECT_THAT(f.error(with_hub({"paris"})), HasSubstr("nothing is to be changed"));
  Fixture<EdgeEditCommand> g;
  EXPECT_THAT(g.error(with_hub({"paris", "--no-region", "--region", "eu"})),
              HasSubstr("--region and --no-region"));
  Fixture<EdgeEditCommand> h;
  const std::vector<std::string> nothing = with_hub({"--name", "x"});
  EXPECT_FALSE(h.command.parse(nothing));
}

// An id may begin with a dash, and is no flag; a flag is no id.
TEST(NamedCommands, TakeIdsWithADash) {
  for (const auto& command : make_hub_commands()) {
    if (!command->info().positional || command->info().positional->name != "INVITE") continue;
    const std::vector<std::string> id = {"-lh6inyAwMeECNGqOTZxDA"}, help = {"--help"};
    auto given = command->parse(id);
    ASSERT_TRUE(given) << command->info().name;
    EXPECT_EQ(given->positional, id[0]);
    EXPECT_TRUE(command->parse(help)->wants_help) << command->info().name;
  }
}

TEST(OperatorAccess, TheKeyMayBeInAFile) {
  const std::string key = std::string(42, 'k') + "A";
  const std::vector<std::string> hub = {"laptop",
                                        "--hub-url",
                                        "https://hub.example.com",
                                        "--hub-key",
                                        SecretKey::from_seed(Bytes(32, 1))->public_key().to_string(),
                                        "--name",
                                        "x"};
  Fixture<InviteEditCommand> f;
  f.variables["CULVERT_OPERATOR_KEY_FILE"] = f.file("op", key + "\n");
  EXPECT_TRUE(f.resolve(hub));
  Fixture<InviteEditCommand> damaged;
  damaged.variables["CULVERT_OPERATOR_KEY_FILE"] = damaged.file("op", "short");
  EXPECT_THAT(damaged.error(hub), testing::StartsWith("CULVERT_OPERATOR_KEY_FILE: "));
  Fixture<InviteEditCommand> absent;
  std::vector<std::string> arguments = hub;
  arguments.insert(arguments.end(), {"--operator-key-file", "/nonexistent/op"});
  EXPECT_THAT(absent.error(arguments), HasSubstr("/nonexistent/op"));
  Fixture<InviteEditCommand> both;
  both.variables["CULVERT_OPERATOR_KEY"] = key;
  EXPECT_TRUE(both.resolve(arguments)) << "the key itself is given, and its file is not read";
}

TEST(OperatorAccess, AKeyThatIsElsewhereIsAskedFor) {
  Fixture<InviteEditCommand> f;
  (void)f.file("node.info", fmt::format("hub_key = {}\nhub_url = https://hub.example.com\n",
                                        SecretKey::from_seed(Bytes(32, 1))->public_key().to_string()));
  const std::vector<std::string> arguments = {"laptop", "--name", "x", "--data-dir", f.directory.string()};
  EXPECT_THAT(f.error(arguments), HasSubstr("has no operator.key; give --operator-key-file"));
  f.variables["CULVERT_OPERATOR_KEY_FILE"] = f.file("elsewhere", std::string(42, 'k') + "A");
  EXPECT_TRUE(f.resolve(arguments));
}

}  // namespace
}  // namespace culvert::cli
