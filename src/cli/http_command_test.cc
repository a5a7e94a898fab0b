#include "cli/http_command.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

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

}  // namespace
}  // namespace culvert::cli
