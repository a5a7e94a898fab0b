#include <fmt/format.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/output.h"
#include "node/node.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "ca export",
          .summary = "Print the root certificate that signs terminated services",
          .examples =
              "  culvert ca export > ca.pem && curl --cacert ca.pem https://app.example.com/\n"
              "  culvert ca export --data-dir /var/lib/culvert --out ca.pem\n"};
}

class CaExportCommand final : public Command {
 public:
  CaExportCommand() : Command(command_info()), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    data_dir_.describe(builder);
    node::describe_ca_directory(builder, places_.ca_directory);
    builder.section("ca").add({.name = "out",
                               .help = "the file that gets the certificate",
                               .details = "It gets mode 0644.",
                               .value_name = "FILE",
                               .default_text = "standard output",
                               .default_is_words = true,
                               .example = "/etc/culvert/ca.pem",
                               .variable = "CULVERT_CA_OUT",
                               .apply = [this](std::string_view text) -> Result<> {
                                 out_ = text;
                                 return {};
                               }});
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    auto path = data_dir_.path(environment);
    if (!path) return std::unexpected(path.error());
    path_ = std::move(*path);
    advice_ = data_dir_.advice();
    return {};
  }

  Result<> run() override {
    auto root = node::read_internal_root(path_, places_);
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
  node::FilePlaces places_;
  std::string advice_;
  std::string out_;
};

}  // namespace

std::unique_ptr<Command> make_ca_export_command() { return std::make_unique<CaExportCommand>(); }

}  // namespace culvert::cli
