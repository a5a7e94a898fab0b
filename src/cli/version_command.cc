#include <fmt/format.h>

#include <CLI/App.hpp>

#include "base/version.h"
#include "cli/command.h"
#include "cli/output.h"
#include "hubapi/declaration.h"
#include "tunnel/control.h"
#include "tunnel/protocol.h"

namespace culvert::cli {
namespace {

class VersionCommand final : public Command {
 public:
  using Command::Command;

  Result<> resolve(const Environment&) override { return {}; }
  Result<> run() override {
    print("{}\n", version_text());
    return {};
  }
};

}  // namespace

std::string version_text() {
  return fmt::format("culvert {} (tunnel protocol {}, declarations {})", kVersion, tunnel::kControlProtocol,
                     hubapi::kDeclarationVersion);
}

std::unique_ptr<Command> make_version_command(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("version", "Print the version and the protocols it speaks");
  app->footer("Examples:\n  culvert version\n  culvert --version");
  return std::make_unique<VersionCommand>(*app);
}

}  // namespace culvert::cli
