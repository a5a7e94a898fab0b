#include <fmt/format.h>

#include <CLI/App.hpp>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/token_source.h"

namespace culvert::cli {
namespace {

CLI::App& add_app(CLI::App& parent) {
  CLI::App* group = parent.add_subcommand("token", "Look at an invite token");
  group->require_subcommand(1);
  group->footer("Examples:\n  culvert token inspect --token-file token");
  CLI::App* app =
      group->add_subcommand("inspect", "Check a token and say what it names, without its secrets");
  app->footer(
      "Examples:\n  culvert token inspect --token-file token\n  CULVERT_TOKEN=cvt_inv_1... culvert token "
      "inspect");
  return *app;
}

class TokenInspectCommand final : public Command {
 public:
  explicit TokenInspectCommand(CLI::App& parent) : Command(add_app(parent)), settings_(app(), true) {
    source_.add_to(settings_);
  }

  Result<> resolve(const Environment& environment) override {
    auto resolved = settings_.resolve(environment);
    if (!resolved) return resolved;
    auto token = source_.read(settings_, {});
    if (!token) return std::unexpected(token.error());
    description_ = token->describe();
    return {};
  }

  Result<> run() override {
    print("{}\n", description_);
    return {};
  }

 private:
  Settings settings_;
  TokenSource source_;
  std::string description_;
};

}  // namespace

std::unique_ptr<Command> make_token_inspect_command(CLI::App& parent) {
  return std::make_unique<TokenInspectCommand>(parent);
}

}  // namespace culvert::cli
