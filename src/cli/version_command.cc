#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/version.h"
#include "cli/command.h"
#include "cli/listing.h"
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
                 .examples = "  culvert version\n  culvert --version\n  culvert version -o json\n"}),
        settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    describe(builder, output_);
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    return complete(output_, arguments, environment);
  }
  Result<> run() override {
    if (output_.format == OutputFormat::kTable) {
      print("{}\n", version_text());
      return {};
    }
    const boost::json::object facts = {{"version", kVersion},
                                       {"tunnel_protocol", tunnel::kControlProtocol},
                                       {"declarations", hubapi::kDeclarationVersion}};
    auto text = format_object(boost::json::serialize(facts), {}, output_);
    if (!text) return std::unexpected(text.error());
    print("{}", *text);
    return {};
  }

 private:
  Settings settings_;
  OutputOptions output_;
};

}  // namespace

std::string version_text() {
  return fmt::format("culvert {} (tunnel protocol {}, declarations {})", kVersion, tunnel::kControlProtocol,
                     hubapi::kDeclarationVersion);
}

std::unique_ptr<Command> make_version_command() { return std::make_unique<VersionCommand>(); }

}  // namespace culvert::cli
