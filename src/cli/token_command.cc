#include <fmt/format.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/token_source.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "token inspect",
          .summary = "Check a token and print what it contains, without its secrets",
          .examples =
              "  culvert token inspect --token-file token\n"
              "  CULVERT_TOKEN=cvt_inv_1... culvert token inspect\n"};
}

class TokenInspectCommand final : public Command {
 public:
  TokenInspectCommand() : Command(command_info()), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    source_.describe(builder);
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
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

std::unique_ptr<Command> make_token_inspect_command() { return std::make_unique<TokenInspectCommand>(); }

}  // namespace culvert::cli
