#include "cli/program.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/log.h"
#include "cli/command.h"

namespace culvert::cli {
namespace {

constexpr int kFailure = 1;
constexpr int kBadUsage = 2;

int complain(const Error& error, int status) {
  fmt::print(stderr, "culvert: {}\n", error.message);
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

Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
  NamedCommand named = named_command(app);
  std::string what = error.what();
  // CLI11 complains of the command that is missing even where one was mistyped.
  auto words = named.app->remaining();
  bool wants_command = named.app->get_require_subcommand_min() > 0 && named.app->get_subcommands().empty();
  if (wants_command && !words.empty())
    what = fmt::format("{} is no command of {}", culvert::quoted(words.front()), named.name);
  return {ErrorCode::kInvalid, fmt::format("{}. See `{} --help`", what, named.name)};
}

}  // namespace

int run_program(std::vector<std::string> arguments, const Environment& environment) {
  CLI::App app("Carries a local service to a public HTTPS URL, through a QUIC tunnel.", "culvert");
  app.require_subcommand(1);
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

  std::ranges::reverse(arguments);  // CLI11 takes them from the back
  try {
    app.parse(arguments);
  } catch (const CLI::Success& request) {  // --help
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return complain(usage_error(app, error), kBadUsage);
  }
  auto chosen = std::ranges::find_if(commands, [](const auto& command) { return command->app().parsed(); });
  CHECK(chosen != commands.end());

  auto resolved = (*chosen)->resolve(environment);
  if (!resolved) return complain(resolved.error(), kBadUsage);
  auto done = (*chosen)->run();
  if (!done) return complain(done.error(), kFailure);
  return 0;
}

}  // namespace culvert::cli
