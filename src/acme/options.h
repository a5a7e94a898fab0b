#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "acme/challenge.h"
#include "acme/https_url.h"
#include "acme/manager.h"
#include "base/secret.h"
#include "base/settings.h"

namespace culvert::acme {

// One CA as an operator names it.
struct CaOptions {
  std::optional<HttpsUrl> directory = std::nullopt;
  std::filesystem::path root_file = {};
  std::string external_key_id = {};
  SecretString external_mac_key = {};
  std::string profile = {};
  std::string preferred_root = {};
};

// What an operator may choose of public certificates.
struct Options {
  CaOptions first = {};  // without a directory there are no public certificates
  CaOptions second = {};
  std::string contact = {};
  bool terms_agreed = false;
  std::vector<ChallengeType> challenge_types = {};  // empty: as IssuerOptions
  BudgetLimits budgets = {};

  bool is_on() const { return first.directory.has_value(); }
};

// Section [acme].
void describe(SettingsBuilder& settings, Options& options);

// nullopt: no CA is configured. Reads the files of roots. kInvalid and kIo name the setting.
Result<std::optional<ManagerOptions>> manager_options(const Options& options);

}  // namespace culvert::acme
