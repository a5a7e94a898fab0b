#include <fmt/format.h>

#include <CLI/App.hpp>

#include "base/file.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/output.h"
#include "node/node.h"

namespace culvert::cli {
namespace {

CLI::App& add_app(CLI::App& parent) {
  CLI::App* group = parent.add_subcommand("ca", "The node's internal certificate authority");
  group->require_subcommand(1);
  group->footer("Examples:\n  culvert ca export --out ca.pem");
  CLI::App* app =
      group->add_subcommand("export", "Print the root certificate that signs terminated services");
  app->footer(
      "Examples:\n"
      "  culvert ca export > ca.pem && curl --cacert ca.pem https://app.example.com/\n"
      "  culvert ca export --data-dir /var/lib/culvert --out ca.pem");
  return *app;
}

class CaExportCommand final : public Command {
 public:
  explicit CaExportCommand(CLI::App& parent) : Command(add_app(parent)), settings_(app(), true) {
    data_dir_.add_to(settings_);
    settings_.add({.key = "out",
                   .value_name = "FILE",
                   .help = "write it there",
                   .default_text = "standard output",
                   .apply = [this](std::string_view text) -> Result<> {
                     out_ = text;
                     return {};
                   },
                   .variable = "CULVERT_CA_OUT"});
  }

  Result<> resolve(const Environment& environment) override {
    auto resolved = settings_.resolve(environment);
    if (!resolved) return resolved;
    auto path = data_dir_.path(environment);
    if (!path) return std::unexpected(path.error());
    path_ = std::move(*path);
    advice_ = data_dir_.advice();
    return {};
  }

  Result<> run() override {
    auto root = node::read_internal_root(path_);
    if (!root) return fail(root.error().code, "{}{}", root.error().message, advice_);
    if (!out_.empty()) {
      auto written = replace_file(out_, as_bytes(*root), 0644);
      if (written) return {};
      return fail(written.error().code,
                  "{}; give --out a file in a directory that exists and that you may write to",
                  written.error().message);
    }
    print("{}", *root);
    return {};
  }

 private:
  Settings settings_;
  DataDir data_dir_;
  std::filesystem::path path_;
  std::string advice_;
  std::string out_;
};

}  // namespace

std::unique_ptr<Command> make_ca_export_command(CLI::App& parent) {
  return std::make_unique<CaExportCommand>(parent);
}

}  // namespace culvert::cli
