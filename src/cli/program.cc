#include "cli/program.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/suggestion.h"

namespace culvert::cli {
namespace {

using Commands = std::vector<std::unique_ptr<Command>>;

constexpr int kFailure = static_cast<int>(ExitStatus::kFailed);
constexpr int kBadUsage = static_cast<int>(ExitStatus::kBadUsage);

int complain(const Error& error, int status) {
  log_message(LogLevel::kError, error.message);
  return status;
}

int complain_of_usage(std::string_view what, std::string_view where) {
  return complain({ErrorCode::kInvalid, fmt::format("{}. See `{} --help`", what, where)}, kBadUsage);
}

// The last word on every run that succeeded: its output has to have arrived.
int check_output(const Command* command) {
  standard_output().drain(kOutputPatience);
  const int error = standard_output().error();
  if (error == 0) return 0;
  std::string lost = command == nullptr ? "" : command->when_output_is_lost();
  if (lost.empty() && error == EPIPE) return kFailure;  // `| head -1` has what it wanted
  return complain({ErrorCode::kIo, fmt::format("standard output: {}{}{}", std::strerror(error),
                                               lost.empty() ? "" : "; ", lost)},
                  kFailure);
}

int show(std::string_view text) {
  print("{}", text);
  return check_output(nullptr);
}

void warn_of_unknown(const Commands& commands, const std::vector<std::string>& variables) {
  std::vector<std::string> known{"CULVERT_CONFIG"};
  for (const auto& command : commands) {
    for (const Setting& setting : command->declared()) known.push_back(variable_name(setting));
  }
  for (const std::string& name : variables) {
    if (std::ranges::find(known, name) != known.end()) continue;
    log_message(LogLevel::kWarn,
                fmt::format("warning: the environment variable {} is not known and has no effect{}", name,
                            suggestion(name, known)));
  }
}

bool is_help(std::string_view word) { return word == "--help" || word == "-h"; }

// For words that begin with no command: help, the version, or what is wrong.
int serve_others(const Commands& commands, std::span<const std::string> words) {
  if (words.empty()) return complain_of_usage("missing command", "culvert");
  if (is_help(words[0])) return show(program_help(commands));
  if (words[0] == "--version") return show(version_text() + "\n");
  const auto [group, name_size] = leading_group(words);
  if (group == nullptr) return complain_of_usage(describe_stray(words[0], "culvert", true), "culvert");
  const std::string name = fmt::format("culvert {}", group->name);
  if (words.size() == name_size) return complain_of_usage("missing command", name);
  if (is_help(words[name_size])) return show(group_help(*group, commands));
  return complain_of_usage(describe_stray(words[name_size], name, true), name);
}

}  // namespace

int run_program(std::vector<std::string> arguments, const Environment& environment,
                const std::vector<std::string>& variables) {
  Commands commands = make_commands();
  commands.push_back(make_docs_command(commands));

  std::span<const std::string> words = arguments;
  const auto [command, name_size] = leading_command(commands, words);
  if (command == nullptr) return serve_others(commands, words);
  auto given = command->parse(words.subspan(name_size));
  if (!given) return complain(given.error(), kBadUsage);
  if (given->wants_help) return show(command_help(*command));

  auto resolved = command->resolve(*given, environment);
  // In its format is also what is wrong with the settings.
  if (const LogOptions* log = command->log_options()) set_log_options(*log);
  warn_of_unknown(commands, variables);
  if (!resolved) return complain(resolved.error(), kBadUsage);
  auto done = command->run();
  if (!done) return complain(done.error(), static_cast<int>(command->failure_status()));
  return check_output(command);
}

}  // namespace culvert::cli
