#include "cli/key_backup_commands.h"

#include "base/ascii.h"
#include "base/crypto_passphrase.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/passphrase_prompt.h"
#include "base/text.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

constexpr std::string_view kPrefix = "culvert-token-v1:";
constexpr int kStandardInput = 0;
constexpr size_t kMaxFile = 64 * 1024;

SettingsBuilder& add_path(SettingsBuilder& builder, const char* name, const char* help, const char* example,
                          std::filesystem::path& path) {
  builder.add({.name = name,
               .help = help,
               .value_name = "FILE",
               .example = example,
               .apply = [&path](std::string_view text) -> Result<> {
                 if (text.empty()) return fail(ErrorCode::kInvalid, "is empty; give the path of a file");
                 path = text;
                 return {};
               }});
  return builder;
}

}  // namespace

void PassphraseSource::describe(SettingsBuilder& settings) {
  settings.add({.name = "passphrase-file",
                .help = "a file whose first line is the passphrase",
                .value_name = "FILE",
                .default_text = "the terminal is asked",
                .default_is_words = true,
                .example = "/run/secrets/passphrase",
                .apply = [this](std::string_view text) -> Result<> {
                  file_ = text;
                  return {};
                }});
}

Result<> PassphraseSource::resolve() {
  if (!file_) {
    if (PassphrasePrompt::is_terminal(kStandardInput)) return {};
    return fail(ErrorCode::kInvalid,
                "--passphrase-file: is missing; give a file with the passphrase, or run this on a terminal");
  }
  auto content = read_file(*file_, kMaxFile);
  if (!content) return fail(ErrorCode::kInvalid, "--passphrase-file: {}", content.error().message);
  WipeAtEnd wiper(*content);
  std::string_view text = as_text(*content);
  text = text.substr(0, text.find_first_of("\r\n"));
  if (text.empty())
    return fail(ErrorCode::kInvalid, "--passphrase-file: the first line of {} is empty", file_->string());
  from_file_ = SecretString(text);
  return {};
}

Result<SecretString> PassphraseSource::get(Kind kind) const {
  if (file_) return from_file_;
  PassphrasePrompt prompt(kStandardInput);
  auto passphrase = prompt.ask("Passphrase of the backup: ");
  if (!passphrase || kind == Kind::kKnown) return passphrase;
  auto again = prompt.ask("The same passphrase again: ");
  if (!again) return again;
  if (*again == *passphrase) return passphrase;
  return fail(ErrorCode::kInvalid, "the two passphrases differ; nothing was exported");
}

KeyExportCommand::KeyExportCommand()
    : TenantCommand(
          {.name = "tenant export-key",
           .summary = "Print a token, with the tenant's key in it, under a passphrase",
           .examples = "  culvert tenant export-key --token-file token > backup\n"
                       "  culvert tenant export-key --token-file token --passphrase-file pass > backup\n"}) {
  SettingsBuilder builder = settings_.builder();
  source_.describe(builder);
  builder.section("backup");
  passphrase_.describe(builder);
}

Result<> KeyExportCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto passphrase = passphrase_.resolve();
  if (!passphrase) return passphrase;
  return read_token();
}

Result<std::string> KeyExportCommand::backup(const SecretString& passphrase, Random& random) const {
  const SecretString text = SecretString::take(token_->encode());
  auto sealed = seal_with_passphrase(passphrase, as_bytes(text.expose()), random);
  if (!sealed) return std::unexpected(sealed.error());
  return std::string(kPrefix) + to_base64url(*sealed);
}

Result<> KeyExportCommand::run() {
  auto passphrase = passphrase_.get(PassphraseSource::Kind::kNew);
  if (!passphrase) return std::unexpected(passphrase.error());
  SystemRandom random;
  auto text = backup(*passphrase, random);
  if (!text) return std::unexpected(text.error());
  print("{}\n", *text);
  return {};
}

KeyImportCommand::KeyImportCommand()
    : Command({.name = "tenant import-key",
               .summary = "Make a token file of what export-key printed",
               .examples =
                   "  culvert tenant import-key --backup backup --out token\n"
                   "  culvert tenant import-key --backup backup --passphrase-file pass --out token\n"}),
      settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  builder.section("backup");
  add_path(builder, "backup", "the file that holds what export-key printed", "backup", backup_);
  add_path(builder, "out", "the token file to make; one that is there is not overwritten", "token", out_);
  passphrase_.describe(builder);
}

Result<> KeyImportCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  if (backup_.empty()) return fail(ErrorCode::kInvalid, "--backup: is missing; give the file of the backup");
  if (out_.empty()) return fail(ErrorCode::kInvalid, "--out: is missing; give the token file to make");
  return passphrase_.resolve();
}

Result<> KeyImportCommand::run() {
  auto content = read_file(backup_, kMaxFile);
  if (!content) return fail(content.error().code, "--backup: {}", content.error().message);
  std::string_view text = trim(as_text(*content));
  if (!text.starts_with(kPrefix))
    return fail(ErrorCode::kInvalid, "--backup: {} does not begin with {}", backup_.string(), kPrefix);
  text.remove_prefix(kPrefix.size());
  auto sealed = from_base64url(text);
  if (!sealed)
    return fail(ErrorCode::kInvalid, "--backup: {} was changed: it is no base64url", backup_.string());
  auto passphrase = passphrase_.get(PassphraseSource::Kind::kKnown);
  if (!passphrase) return std::unexpected(passphrase.error());
  auto opened = open_with_passphrase(*passphrase, *sealed);
  if (!opened) return fail(opened.error().code, "--backup: {}: {}", backup_.string(), opened.error().message);
  auto token = hubapi::parse_invite_token(as_text(opened->expose()));
  if (!token) return fail(ErrorCode::kInvalid, "--backup: {}", token.error().message);
  Bytes line(opened->expose().begin(), opened->expose().end());
  WipeAtEnd wiper(line);
  line.push_back('\n');
  auto made = create_private_file(out_, line);
  if (!made) return fail(made.error().code, "--out: {}", made.error().message);
  print("{}\n", out_.string());
  return {};
}

std::vector<std::unique_ptr<Command>> make_key_backup_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<KeyExportCommand>());
  commands.push_back(std::make_unique<KeyImportCommand>());
  return commands;
}

}  // namespace culvert::cli
