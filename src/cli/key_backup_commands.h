#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/entry_commands.h"

namespace culvert::cli {

// A file with a passphrase: its first line.
class PassphraseFile {
 public:
  void describe(SettingsBuilder& settings);
  // kInvalid: none was given, or it is empty.
  Result<SecretString> read() const;

 private:
  std::optional<std::filesystem::path> file_;
};

// culvert tenant export-key: the token, with the tenant's key in it, under a passphrase.
class KeyExportCommand final : public TenantCommand {
 public:
  KeyExportCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // "culvert-token-v1:..."
  Result<std::string> backup(Random& random) const;

 private:
  PassphraseFile file_;
  SecretString passphrase_;
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
  PassphraseFile file_;
  SecretString passphrase_;
  std::filesystem::path backup_;
  std::filesystem::path out_;
};

}  // namespace culvert::cli
