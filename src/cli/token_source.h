#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "base/secret.h"
#include "cli/settings.h"
#include "hubapi/token.h"

namespace culvert::cli {

// Where an invite token comes from: --token, --token-file, or one that was saved before.
class TokenSource {
 public:
  // In section [agent].
  void describe(SettingsBuilder& settings);
  // After settings were resolved. kInvalid names the source and what is wrong with the token, never its text.
  Result<hubapi::InviteToken> read(const Settings& settings, const std::filesystem::path& saved) const;

 private:
  std::optional<SecretString> text_;
  std::optional<std::filesystem::path> file_;
};

// Where the token of an edge comes from: --edge-token or --edge-token-file.
class EdgeTokenSource {
 public:
  // In the builder's section.
  void describe(SettingsBuilder& settings);
  // After settings were resolved; nullopt: none was given. kInvalid as TokenSource::read().
  Result<std::optional<hubapi::EdgeToken>> read(const Settings& settings) const;

 private:
  std::optional<SecretString> text_;
  std::optional<std::filesystem::path> file_;
};

struct SavedToken {
  bool was_there = false;                // this token, already
  std::string replaced = {};             // what was there instead, without its secrets; empty: nothing
  std::filesystem::path old_place = {};  // where that is kept now
  bool operator==(const SavedToken&) const = default;
};

// Keeps a token for the next time, mode 0600, in a private directory. Another one that was kept there moves
// to the same path with ".old" behind it.
Result<SavedToken> save_token(const std::filesystem::path& path, const hubapi::InviteToken& token);

}  // namespace culvert::cli
