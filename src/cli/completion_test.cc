#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "cli/completion_words.h"

namespace culvert::cli {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::StartsWith;

// A directory with the script and some files, and a real bash in it.
class Bash {
 public:
  Bash() {
    std::filesystem::create_directories(directory_ / "some-dir");
    EXPECT_TRUE(replace_file(directory_ / "some-file", as_bytes(std::string_view("")), 0600));
    EXPECT_TRUE(replace_file(directory_ / "script", as_bytes(bash_completion(make_commands())), 0600));
  }
  ~Bash() { std::filesystem::remove_all(directory_); }

  // What is offered for the last word, which may be empty.
  std::vector<std::string> complete(const std::vector<std::string>& words) const {
    std::string line = "culvert";
    for (const std::string& word : words) line += " '" + word + "'";
    const std::string run = fmt::format(
        "cd {} && bash --norc -c '. ./script && COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) && _culvert && "
        "printf \"%s\\n\" \"${{COMPREPLY[@]}}\"' bash {} 2>&1",
        directory_.string(), line);
    std::FILE* out = popen(run.c_str(), "r");
    std::vector<std::string> lines;
    char buffer[1000];
    while (std::fgets(buffer, sizeof buffer, out) != nullptr) {
      std::string text(buffer);
      text.pop_back();
      if (!text.empty()) lines.push_back(text);
    }
    EXPECT_EQ(pclose(out), 0) << testing::PrintToString(lines);
    std::ranges::sort(lines);
    return lines;
  }

 private:
  std::filesystem::path directory_ = std::filesystem::path(testing::TempDir()) /
                                     fmt::format("culvert_bash_test_{}", static_cast<const void*>(this));
};

TEST(BashCompletion, OffersCommandsAndTheirSecondWords) {
  const Bash bash;
  EXPECT_THAT(
      bash.complete({""}),
      AllOf(IsSupersetOf({"node", "agent", "http", "invite", "config", "--help"}), Not(Contains("docs"))));
  EXPECT_THAT(bash.complete({"in"}), ElementsAre("invite"));
  EXPECT_THAT(bash.complete({"invite", ""}),
              ElementsAre("--help", "create", "edit", "list", "revoke", "show"));
  EXPECT_THAT(bash.complete({"agent", "li"}), ElementsAre("list"));
  EXPECT_THAT(bash.complete({"operator", ""}), ElementsAre("--help", "key"));
  EXPECT_THAT(bash.complete({"operator", "key", ""}), ElementsAre("--help", "create", "list", "revoke"));
  EXPECT_THAT(bash.complete({"operator", "key", "create", "--role", ""}), ElementsAre("admin", "read-only"));
  EXPECT_THAT(bash.complete({"agent", "--serv"}), ElementsAre("--service", "--services", "--services-file"));
  EXPECT_THAT(bash.complete({"nonsense", ""}), IsEmpty());
}

TEST(BashCompletion, OffersFlagsAndSwitches) {
  const Bash bash;
  EXPECT_THAT(bash.complete({"invite", "list", "--"}),
              IsSupersetOf({"--output", "--json", "--hub-url", "--config", "--help"}));
  EXPECT_THAT(
      bash.complete({"node", "--max-conn"}),
      ElementsAre("--max-connections", "--max-connections-per-source", "--max-connections-per-tenant"));
  // Every flag of every command is there.
  for (const CommandWords& command : words_of(make_commands())) {
    std::vector<std::string> words;
    std::istringstream name(command.name);
    for (std::string word; name >> word;) words.push_back(word);
    words.emplace_back("--");
    EXPECT_EQ(bash.complete(words).size(), command.flags.size()) << command.name;
  }
}

TEST(BashCompletion, OffersValues) {
  const Bash bash;
  EXPECT_THAT(bash.complete({"node", "--log-level", ""}), ElementsAre("debug", "error", "info", "warn"));
  EXPECT_THAT(bash.complete({"node", "--log-level", "=", "e"}), ElementsAre("error"));
  EXPECT_THAT(bash.complete({"node", "--log-level", "="}), ElementsAre("debug", "error", "info", "warn"));
  EXPECT_THAT(bash.complete({"invite", "list", "-o", "y"}), ElementsAre("yaml"));
  EXPECT_THAT(bash.complete({"node", "--balance", ""}), ElementsAre("least-connections", "round-robin"));
  EXPECT_THAT(bash.complete({"node", "--config", "some"}), ElementsAre("some-dir", "some-file"));
  EXPECT_THAT(bash.complete({"node", "--data-dir", "some"}), ElementsAre("some-dir"));
  EXPECT_THAT(bash.complete({"completion", ""}), ElementsAre("bash", "fish", "zsh"));
}

// These shells need not be there: what the scripts have to hold.
TEST(OtherCompletions, HaveEveryFlag) {
  const auto commands = make_commands();
  const std::string zsh = zsh_completion(commands);
  const std::string fish = fish_completion(commands);
  EXPECT_THAT(zsh, StartsWith("#compdef culvert\n"));
  EXPECT_THAT(zsh, HasSubstr("'--balance=[how connections are spread over a hostname'\\''s agents\\: "));
  EXPECT_THAT(zsh, HasSubstr("'-o[table, json or yaml]:FORMAT:(table json yaml)'"));
  EXPECT_THAT(zsh, HasSubstr("'*--hostnames="));
  EXPECT_THAT(
      fish,
      HasSubstr("-n '__fish_seen_subcommand_from invite; and __fish_seen_subcommand_from list' -l output "
                "-s o -x -a 'table json yaml' -d 'table, json or yaml'\n"));
  EXPECT_THAT(zsh, HasSubstr("if [[ $name == 'operator key' ]]; then\n"));
  EXPECT_THAT(zsh, HasSubstr("    'operator key create')\n"));
  EXPECT_THAT(fish,
              HasSubstr("-n '__fish_seen_subcommand_from operator; and __fish_seen_subcommand_from key; and "
                        "not __fish_seen_subcommand_from create list revoke' -a create "));
  for (const CommandWords& command : words_of(commands)) {
    for (const FlagWord& flag : command.flags) {
      EXPECT_THAT(zsh, HasSubstr("--" + flag.name));
      EXPECT_THAT(fish, HasSubstr(" -l " + flag.name));
    }
  }
}

}  // namespace
}  // namespace culvert::cli
