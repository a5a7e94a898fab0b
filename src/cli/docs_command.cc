
#include "base/file.h"
#include "cli/command.h"
#include "cli/reference.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxDocument = 4 * 1024 * 1024;

CommandInfo command_info() {
  return {.name = "docs",
          .summary = "Fill the generated parts of a document of the source tree",
          .examples = "  culvert docs docs/configuration.md\n",
          .positional = Positional{.name = "FILE", .help = "the document, which is changed in place"},
          .is_hidden = true};
}

class DocsCommand final : public Command {
 public:
  explicit DocsCommand(const std::vector<std::unique_ptr<Command>>& commands)
      : Command(command_info()), commands_(commands) {}

  Result<> resolve(const Arguments& arguments, const Environment&) override {
    path_ = arguments.positional;
    return {};
  }
  Result<> run() override {
    auto document = read_file(path_, kMaxDocument);
    if (!document) return std::unexpected(document.error());
    auto filled = fill_document(as_text(*document), commands_);
    if (!filled) return fail(filled.error().code, "{}: {}", path_.string(), filled.error().message);
    return replace_file(path_, as_bytes(*filled), 0644);
  }

 private:
  const std::vector<std::unique_ptr<Command>>& commands_;
  std::filesystem::path path_;
};

}  // namespace

std::unique_ptr<Command> make_docs_command(const std::vector<std::unique_ptr<Command>>& commands) {
  return std::make_unique<DocsCommand>(commands);
}

}  // namespace culvert::cli
