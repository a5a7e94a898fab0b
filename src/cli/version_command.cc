#include <fmt/format.h>

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
  VersionCommand()
      : Command({.name = "version",
                 .summary = "Print the version and the protocols it speaks",
                 .examples = "  culvert version\n  culvert --version\n"}) {}

  Result<> resolve(const Arguments&, const Environment&) override { return {}; }
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

std::unique_ptr<Command> make_version_command() { return std::make_unique<VersionCommand>(); }

}  // namespace culvert::cli
