#include "base/text.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "completion",
          .summary = "Print a script with which a shell completes command lines of culvert",
          .examples =
              "  culvert completion bash > /etc/bash_completion.d/culvert\n"
              "  source <(culvert completion bash)         # in this bash only\n"
              "  culvert completion zsh > /usr/local/share/zsh/site-functions/_culvert\n"
              "  culvert completion fish > ~/.config/fish/completions/culvert.fish\n",
          .positional =
              Positional{.name = "SHELL", .help = "bash, zsh or fish", .choices = {"bash", "zsh", "fish"}}};
}

class CompletionCommand final : public Command {
 public:
  CompletionCommand() : Command(command_info()) {}

  Result<> resolve(const Arguments& arguments, const Environment&) override {
    if (arguments.positional == "bash") write_ = bash_completion;
    if (arguments.positional == "zsh") write_ = zsh_completion;
    if (arguments.positional == "fish") write_ = fish_completion;
    if (write_ != nullptr) return {};
    return fail(ErrorCode::kInvalid, "SHELL: unknown shell {} (expected bash, zsh or fish)",
                culvert::quoted(arguments.positional));
  }
  Result<> run() override {
    print("{}", write_(make_commands()));
    return {};
  }

 private:
  std::string (*write_)(const std::vector<std::unique_ptr<Command>>&) = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_completion_command() { return std::make_unique<CompletionCommand>(); }

}  // namespace culvert::cli
