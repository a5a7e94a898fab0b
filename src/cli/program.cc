#include "cli/program.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

constexpr int kFailure = 1;
constexpr int kBadUsage = 2;

int complain(const Error& error, int status) {
  print_message("{}", error.message);
  return status;
}

// The innermost command that was named, with its full name for the advice in a usage error.
struct NamedCommand {
  const CLI::App* app;
  std::string name;
};
NamedCommand named_command(const CLI::App& root) {
  NamedCommand named{&root, root.get_name()};
  while (!named.app->get_subcommands().empty()) {
    named.app = named.app->get_subcommands().front();
    named.name += " " + named.app->get_name();
  }
  return named;
}

// What nobody knew what to do with, of the outermost command that has such words: CLI11 leaves what stood
// before a subcommand to its parent.
struct StrayWord {
  std::string word;
  std::string command;
};
std::optional<StrayWord> stray_word(const CLI::App& root) {
  std::string name = root.get_name();
  for (const CLI::App* app = &root;; app = app->get_subcommands().front(), name += " " + app->get_name()) {
    auto strays = app->remaining();
    // The flag itself says more than the value that CLI11 took away from it.
    auto flag = std::ranges::find_if(strays, [](const std::string& word) { return word.starts_with('-'); });
    if (!strays.empty()) return StrayWord{flag == strays.end() ? strays.front() : *flag, name};
    if (app->get_subcommands().empty()) return std::nullopt;
  }
}

// It may be a secret without its flag, and the value of a mistyped flag may be one too: neither is repeated,
// nor is any word as long as a key.
std::string describe_stray(const StrayWord& stray, bool wants_command) {
  constexpr size_t kKeySize = 40;
  const std::string word = stray.word.substr(0, stray.word.find('='));
  if (word.contains("cvt_inv_"))
    return "a token is not expected there; give it with --token or CULVERT_TOKEN";
  if (word.size() >= kKeySize)
    return fmt::format("a word of {} characters is not expected there", word.size());
  if (word.starts_with('-')) return fmt::format("{} is no flag of {}", culvert::quoted(word), stray.command);
  if (wants_command) return fmt::format("{} is no command of {}", culvert::quoted(word), stray.command);
  return fmt::format("{} is one word too many", culvert::quoted(word));
}

Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
  NamedCommand named = named_command(app);
  bool wants_command = named.app->get_require_subcommand_min() > 0 && named.app->get_subcommands().empty();
  // CLI11 complains of what is missing even where it was only mistyped.
  auto stray = stray_word(app);
  std::string what = error.what();
  std::string kind = error.get_name();
  if (stray) {
    what = describe_stray(*stray, wants_command);
  } else if (wants_command) {
    what = "a command is missing";
  } else if (kind == "RequiredError") {
    for (const CLI::Option* option : named.app->get_options()) {
      if (option->get_required()) what = fmt::format("{}: is missing", option->get_type_name());
    }
  } else if (kind == "ArgumentMismatch") {
    what = fmt::format("{}: needs a value", what.substr(0, what.find(':')));
  } else if (kind == "ConversionError") {
    what = "--json: takes no value";  // the only kind of flag that CLI11 reads itself
  }
  return {ErrorCode::kInvalid, fmt::format("{}. See `{} --help`", what, named.name)};
}

// The last word on every run that succeeded: its output has to have arrived.
int check_output(const Command* command) {
  standard_output().drain(kOutputPatience);
  bool had_failed = std::ferror(stdout) != 0 || standard_output().has_failed();
  errno = 0;
  bool fails = std::fflush(stdout) != 0;
  if (!had_failed && !fails) return 0;
  std::string lost = command == nullptr ? "" : command->when_output_is_lost();
  if (lost.empty() && output_has_no_reader()) return kFailure;  // `| head -1` has what it wanted
  return complain(
      {ErrorCode::kIo, fmt::format("standard output: {}{}{}",
                                   fails && errno != 0 ? std::strerror(errno) : "not all could be written",
                                   lost.empty() ? "" : "; ", lost)},
      kFailure);
}

// A base64url id may begin with a dash. Nothing else on this command line looks like 16 bytes of base64url.
void protect_invite_id(std::vector<std::string>& arguments) {
  bool is_revoke = arguments.size() > 2 && arguments[0] == "invite" && arguments[1] == "revoke";
  if (!is_revoke || std::ranges::find(arguments, "--") != arguments.end()) return;
  auto id = std::ranges::find_if(arguments, [](const std::string& word) {
    auto bytes = from_base64url(word);
    return word.starts_with('-') && bytes && bytes->size() == 16;
  });
  if (id == arguments.end()) return;
  std::rotate(id, id + 1, arguments.end());
  arguments.insert(arguments.end() - 1, "--");
}

// `--name=` is the flag with an empty value; CLI11 would take the next word for it.
std::vector<std::string> split_empty_values(std::vector<std::string> arguments) {
  std::vector<std::string> out;
  bool flags_ended = false;
  for (std::string& word : arguments) {
    flags_ended = flags_ended || word == "--";
    bool is_empty = !flags_ended && word.starts_with("--") && word.find('=') == word.size() - 1;
    if (is_empty) word.pop_back();
    out.push_back(std::move(word));
    if (is_empty) out.emplace_back();
  }
  return out;
}

// Every --help names its variables in brackets; that makes it the list of those there are.
void add_known_variables(const CLI::App& app, std::vector<std::string>& known) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string& help = option->get_description();
    size_t begin = help.rfind("[CULVERT_");
    if (begin != std::string::npos && help.ends_with(']'))
      known.push_back(help.substr(begin + 1, help.size() - begin - 2));
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    add_known_variables(*command, known);
}

// Levenshtein's.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      size_t swapped = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({swapped, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

void warn_of_unknown(const CLI::App& app, const std::vector<std::string>& variables) {
  std::vector<std::string> known;
  add_known_variables(app, known);
  for (const std::string& name : variables) {
    if (std::ranges::find(known, name) != known.end()) continue;
    auto nearest = std::ranges::min_element(
        known, {}, [&name](const std::string& other) { return distance(name, other); });
    bool is_near = nearest != known.end() && distance(name, *nearest) <= 3;
    print_message("warning: the environment variable {} is not known and has no effect{}", name,
                  is_near ? fmt::format("; did you mean {}?", *nearest) : "");
  }
}

}  // namespace

int run_program(std::vector<std::string> arguments, const Environment& environment,
                const std::vector<std::string>& variables) {
  CLI::App app("Carries a local service to a public HTTPS URL, through a QUIC tunnel.", "culvert");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text(), "Print the version, like `culvert version`");
  app.footer(
      "Examples:\n"
      "  culvert node --public-url https://hub.example.com         # on the public host\n"
      "  culvert invite create --name laptop --hostnames '*.example.com'\n"
      "  culvert http 3000 --token cvt_inv_1...                    # where the service runs\n"
      "\n"
      "Every flag has an environment variable, shown in [brackets]. `culvert COMMAND --help` says more.");

  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_http_command(app));
  commands.push_back(make_agent_command(app));
  commands.push_back(make_node_command(app));
  for (auto& command : make_invite_commands(app)) commands.push_back(std::move(command));
  commands.push_back(make_ca_export_command(app));
  commands.push_back(make_token_inspect_command(app));
  commands.push_back(make_version_command(app));

  arguments = split_empty_values(std::move(arguments));
  protect_invite_id(arguments);
  std::ranges::reverse(arguments);  // CLI11 takes them from the back
  try {
    app.parse(arguments);
  } catch (const CLI::Success& request) {  // --help, --version
    app.exit(request);
    std::cout.flush();
    return check_output(nullptr);
  } catch (const CLI::ParseError& error) {
    return complain(usage_error(app, error), kBadUsage);
  }
  auto chosen = std::ranges::find_if(commands, [](const auto& command) { return command->app().parsed(); });
  CHECK(chosen != commands.end());

  warn_of_unknown(app, variables);
  auto resolved = (*chosen)->resolve(environment);
  if (!resolved) return complain(resolved.error(), kBadUsage);
  auto done = (*chosen)->run();
  if (!done) return complain(done.error(), kFailure);
  return check_output(chosen->get());
}

}  // namespace culvert::cli
