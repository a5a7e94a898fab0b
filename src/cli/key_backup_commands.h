#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/entry_commands.h"

namespace culvert::cli {

// A passphrase: the first line of a file or, where none is given, what the user types on the terminal of
// standard input.
class PassphraseSource {
 public:
  void describe(SettingsBuilder& settings);
  // After settings were resolved: reads the file. kInvalid: it is empty, or there is neither file nor
  // terminal.
  Result<> resolve();
  // Asks the user where there is no file; for a new passphrase twice, and both have to be the same.
  enum class Kind : uint8_t { kNew, kKnown };
  Result<SecretString> get(Kind kind) const;

 private:
  std::optional<std::filesystem::path> file_;
  SecretString from_file_;
};

// culvert tenant export-key: the token, with the tenant's key in it, under a passphrase.
class KeyExportCommand final : public TenantCommand {
 public:
  KeyExportCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // "culvert-token-v1:..."
  Result<std::string> backup(const SecretString& passphrase, Random& random) const;

 private:
  PassphraseSource passphrase_;
};

// culvert tenant import-key
class KeyImportCommand final : public Command {
 public:
  KeyImportCommand();
  const Settings* settings() const override { return &settings_; }
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  Settings settings_;
  PassphraseSource passphrase_;
  std::filesystem::path backup_;
  std::filesystem::path out_;
};

}  // namespace culvert::cli
