#include "base/file.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/output.h"
#include "node/hub_archive.h"
#include "node/node.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxArchive = size_t{4} * 1024 * 1024 * 1024;
constexpr const char* kDash = "-";  // standard output or input

Positional file_word(std::string help) {
  return {.name = "FILE",
          .help = std::move(help),
          .accepts_dash = [](std::string_view word) { return word == kDash; },
          .example = "hub.export"};
}

// A command that opens the database of a node on this host.
class HubArchiveCommand : public Command {
 public:
  explicit HubArchiveCommand(CommandInfo its_info) : Command(std::move(its_info)), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    data_dir_.describe(builder);
    builder.section("hub");
    node::describe_database(builder, place_.url, place_.places.database);
  }
  const Settings* settings() const override { return &settings_; }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    auto path = data_dir_.path(environment);
    if (!path) return std::unexpected(path.error());
    place_.data_dir = std::move(*path);
    file_ = arguments.positional;
    replaces_ = arguments.has_switch("replace");
    return {};
  }

 protected:
  node::HubDatabase place_;
  std::string file_;
  bool replaces_ = false;
  DataDir data_dir_;

 private:
  Settings settings_;
};

class HubExportCommand final : public HubArchiveCommand {
 public:
  HubExportCommand()
      : HubArchiveCommand(
            {.name = "hub export",
             .summary = "Write all that a hub keeps to a file, as a backup or to move it; the node may run",
             .examples =
                 "  culvert hub export hub.export\n"
                 "  culvert hub export --database postgres://culvert@db.example.com/culvert hub.export\n"
                 "  (umask 077; culvert hub export - > hub.export)\n",
             .positional = file_word(
                 "the new file, with mode 0600 since it holds the key of the secrets' hashes; - for "
                 "standard output")}) {}

  Result<> run() override {
    auto archive = node::export_hub(place_);
    if (!archive) return fail(archive.error().code, "{}{}", archive.error().message, data_dir_.advice());
    if (file_ == kDash) {
      print("{}", archive->expose());
      return {};
    }
    auto written = create_private_file(file_, as_bytes(archive->expose()));
    if (written) return {};
    return fail(written.error().code,
                "{}; give a new file in a directory that exists and that you may write to",
                written.error().message);
  }
};

class HubImportCommand final : public HubArchiveCommand {
 public:
  HubImportCommand()
      : HubArchiveCommand(
            {.name = "hub import",
             .summary = "Fill a hub's database from a file of `culvert hub export`; the node must be stopped",
             .examples =
                 "  culvert hub import hub.export\n"
                 "  culvert hub import --database postgres://culvert@db.example.com/culvert hub.export\n",
             .positional = file_word("the file, or - for standard input"),
             .switches = {
                 {.flag = "replace", .help = "also when there is something: all of it is replaced"}}}) {}

  Result<> run() override {
    auto content = read_file(file_ == kDash ? "/dev/stdin" : file_, kMaxArchive);
    if (!content) return std::unexpected(content.error());
    WipeAtEnd wipe(*content);
    auto imported = node::import_hub(place_, as_text(*content), replaces_);
    if (!imported && imported.error().code == ErrorCode::kInvalid)
      return fail(ErrorCode::kInvalid, "{}: {}", file_, imported.error().message);
    if (!imported) return std::unexpected(imported.error());
    print_message("imported {} records and {} entries of the audit log; start the node now",
                  imported->records, imported->audit_entries);
    return {};
  }
};

}  // namespace

std::vector<std::unique_ptr<Command>> make_hub_archive_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<HubExportCommand>());
  commands.push_back(std::make_unique<HubImportCommand>());
  return commands;
}

}  // namespace culvert::cli
