#include "cli/invite_commands.h"

#include "cli/command_fixture.h"
#include "cli/invite_edit_command.h"

namespace culvert::cli {
namespace {

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

TEST(InviteCreate, TakesPortsAndQuotas) {
  Fixture<InviteCreateCommand> f;
  ASSERT_TRUE(f.resolve(with_hub({"--hostnames", "a.com", "--ports", "25565,20000-20099", "--max-agents", "2",
                                  "--max-tcp-ports", "default", "--allow-overlap"})));
  EXPECT_EQ(f.command.request_json(),
            R"({"hostnames":["a.com"],"max_agents":2,"max_tcp_ports":null,"ports":["25565","20000-20099"],)"
            R"("allow_overlap":true})");
  Fixture<InviteCreateCommand> g;
  EXPECT_THAT(g.error(with_hub({"--hostnames", "a.com", "--max-agents", "-1"})), HasSubstr("--max-agents"));
  Fixture<InviteEditCommand> any;
  ASSERT_TRUE(any.resolve(with_hub({"laptop", "--ports", "any"})));
  EXPECT_EQ(any.command.request_json(), R"({"ports":[]})");
  Fixture<InviteEditCommand> nothing;
  EXPECT_THAT(nothing.error(with_hub({"laptop", "--allow-overlap"})), HasSubstr("nothing is to be changed"));
}

TEST(InviteCreate, TakesAnswersFromEverySource) {
  constexpr const char* kBoth = R"({"hostnames":["a.com"],"allow_custom_domains":true,"allow_overlap":true})";
  constexpr const char* kNeither = R"({"hostnames":["a.com"],"allow_custom_domains":false})";
  for (const char* answer : {"true", "\"yes\"", "1", "false", "\"no\"", "0"}) {
    Fixture<InviteCreateCommand> f;
    const std::string file = f.file("i.toml", fmt::format("[invite]\nallow-custom-domains = {0}\n"
                                                          "allow-overlap = {0}\n",
                                                          answer));
    ASSERT_TRUE(f.resolve(with_hub({"--hostnames", "a.com", "--config", file}))) << answer;
    const bool is_yes = std::string_view(answer) == "true" || std::string_view(answer) == "\"yes\"" ||
                        std::string_view(answer) == "1";
    EXPECT_EQ(f.command.request_json(), is_yes ? kBoth : kNeither) << answer;
  }
  Fixture<InviteCreateCommand> f;
  f.variables["CULVERT_ALLOW_OVERLAP"] = "1";
  f.variables["CULVERT_ALLOW_CUSTOM_DOMAINS"] = "true";
  ASSERT_TRUE(f.resolve(with_hub({"--hostnames", "a.com"})));
  EXPECT_EQ(f.command.request_json(), kBoth);
  Fixture<InviteEditCommand> edit;
  edit.variables["CULVERT_ALLOW_OVERLAP"] = "yes";
  EXPECT_THAT(edit.error(with_hub({"laptop"})), HasSubstr("nothing is to be changed"));
  Fixture<InviteEditCommand> taking;
  taking.variables["CULVERT_ALLOW_OVERLAP"] = "yes";
  ASSERT_TRUE(taking.resolve(with_hub({"laptop", "--add-hostnames", "a.com"})));
  EXPECT_EQ(taking.command.request_json(), R"({"add_hostnames":["a.com"],"allow_overlap":true})");
  Fixture<InviteCreateCommand> g;
  EXPECT_THAT(g.error(with_hub({"--hostnames", "a.com", "--config",
                                g.file("i.toml", "[invite]\nallow-overlap = [true]\n")})),
              HasSubstr("is a list (expected true or false)"));
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
  const std::string& facts = invite->facts;
  EXPECT_THAT(facts, HasSubstr("a.com,*.b.com"));
  EXPECT_THAT(facts, HasSubstr("2023-11-14 22:13 UTC"));
  EXPECT_THAT(facts, Not(HasSubstr("cvt_inv_1")));
  EXPECT_THAT(read_created_invite(R"({"token":"t","expires_at":null})")->facts, HasSubstr("never"));
  for (std::string_view bad : {"", "[]", "{}", "{\"token\":7}"})
    EXPECT_FALSE(read_created_invite(bad)) << bad;
}

TEST(InviteList, ShowsWhatAnInviteIs) {
  const ListCommandInfo info = invite_list_info();
  auto text = fetch_listing(info.listing, info.path, {}, [](const std::string&) {
    return R"({"invites":[{"invite_id":"A","name":"n","status":"live","expires_at":null,"created_at":1700000000,)"
           R"("hostnames":["a.com","b.com"]}]})";
  });
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text,
            "ID  NAME  STATUS  EXPIRES  CREATED               HOSTNAMES\n"
            "A   n     live    never    2023-11-14 22:13 UTC  a.com,b.com\n");
}

// A hub may be of another version than this program, or not honest.
TEST(InviteCreate, ShowsNoControlCharactersOfOthers) {
  auto created =
      read_created_invite("{\"token\":\"t\",\"name\":\"a\xe2\x80\xae\",\"hostnames\":[\"\\u009b\"]}");
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_THAT(created->facts, HasSubstr("name       a\\u202e\n"));
  EXPECT_THAT(created->facts, HasSubstr("hostnames  \\u009b\n"));
}

}  // namespace
}  // namespace culvert::cli
