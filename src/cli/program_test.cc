#include "cli/program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <csignal>

#include "base/json.h"
#include "base/log.h"
#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

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
           {"config"},
           {"config", "check"},
           {"config", "show"},
           {"config", "reference"},
           {"completion"},
       }) {
    auto arguments = command;
    arguments.push_back("--help");
    RunResult result = run(arguments);
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.out, HasSubstr("Examples:")) << testing::PrintToString(command);
  }
}

// What reads the log reads why the program did not start as well.
TEST(Program, TellsErrorsInTheFormatOfItsLog) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"agent", "--log-format", "json"},
        {"node", "--log-format=json", "--listen", "x\ny", "--data-dir", "/d"},
        {"http", "3000", "--log-format", "json", "--token", "nonsense"}}) {
    RunResult result = run(words);
    set_log_options({});
    EXPECT_EQ(result.status, 2);
    ASSERT_TRUE(result.err.ends_with('\n')) << result.err;
    const auto line = parse_json_object("the line", result.err.substr(0, result.err.find('\n')));
    ASSERT_TRUE(line) << result.err;
    EXPECT_EQ(line->at("level"), "error");
    EXPECT_FALSE(line->at("msg").as_string().empty());
  }
  EXPECT_THAT(run({"agent", "--log-format", "xml"}).err,
              HasSubstr("culvert: --log-format: log format \"xml\""));
}

TEST(Program, BadUsageIsTwoAndSaysWhatAndWhere) {
  for (auto [arguments, expected] : std::initializer_list<std::pair<std::vector<std::string>, const char*>>{
           {{}, "missing command. See `culvert --help`"},
           {{"nope"}, "unknown command \"nope\" for culvert"},
           {{"invite"}, "missing command. See `culvert invite --help`"},
           {{"invite", "make"}, "unknown command \"make\" for culvert invite"},
           {{"node", "--nope"}, "culvert node --help"},
           {{"node", "--listen"}, "culvert node --help"},
           {{"node", "stray"}, "culvert node --help"},
           {{"http"}, "TARGET: is missing. See `culvert http --help`"},
           {{"invite", "revoke"}, "INVITE: is missing."},
           {{"invite", "revoke", "a", "b"}, "unexpected argument \"b\". See `culvert invite revoke --help`"},
           {{"invite", "list", "--json=x"}, "--json: takes no value."},
           {{"version", "-o", "xml"}, "--output: invalid format \"xml\" (expected table, json or yaml)"},
           {{"completion", "csh"}, "SHELL: unknown shell \"csh\""},
           {{"config", "show"}, "COMMAND: is missing."},
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

TEST(Program, AHubThatCannotBeReachedIsFour) {
  RunResult result = run({"invite", "list", "--hub-url", "https://127.0.0.1:1", "--hub-key",
                          SecretKey::from_seed(Bytes(32, 1))->public_key().to_string(), "--operator-key",
                          std::string(42, 'k') + "A"});
  EXPECT_EQ(result.status, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("hub: "));
}

TEST(Program, HelpListsTheExitStatuses) {
  EXPECT_THAT(run({"--help"}).out, HasSubstr("\n  3  the hub refused: "));
}

TEST(Program, PrintsDocumentsForPrograms) {
  EXPECT_THAT(run({"version", "-o", "json"}).out,
              testing::MatchesRegex("\\{\"version\":\"[0-9.]+\",.*\\}\n"));
  const std::string text = token().encode();
  RunResult inspected = run({"token", "inspect", "--token", text, "-o", "yaml"});
  EXPECT_THAT(inspected.out, HasSubstr("hub_urls:\n  - \"https://hub.example.com:8443\"\n"));
  EXPECT_THAT(inspected.out, Not(HasSubstr("IiIiIi")));
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
