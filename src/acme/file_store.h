#pragma once
#include <filesystem>

#include "acme/store.h"

namespace culvert::acme {

// A directory of one process, with files that only their owner reads:
//   accounts/HOST-DIGEST.json   the account with each CA
//   names/NAME.json             certificate, key and progress of each name
//   budgets.json
// A damaged file is renamed to FILE.damaged, reported in the log, and absent from then on.
class FileStore final : public BlockingStore {
 public:
  // Creates the directory, 0700. kIo; kInvalid: others may write to it.
  static Result<FileStore> open(std::filesystem::path directory);

  Result<std::optional<Account>> load_account(const std::string& directory) override;
  // The CAs that there is an account with, by their directory URLs. kIo.
  Result<std::vector<std::string>> account_directories();
  Result<> save_account(const std::string& directory, const Account& account) override;
  Result<std::optional<Record>> load(const std::string& name) override;
  Result<> save(const Record& record) override;
  Result<> remove(const std::string& name) override;
  Result<std::vector<std::string>> names() override;
  Result<std::string> load_budgets() override;
  Result<> save_budgets(const std::string& text) override;

  // The file of this name. kInvalid: not a hostname or a wildcard in lower case.
  Result<std::filesystem::path> path_of(const std::string& name) const;

 private:
  explicit FileStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path account_path(const std::string& directory) const;

  std::filesystem::path directory_;
};

}  // namespace culvert::acme
