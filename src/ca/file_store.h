#pragma once
#include <filesystem>

#include "base/file.h"
#include "ca/store.h"

namespace culvert::ca {

// A directory of our own with one file (mode 0600, JSON) for each account and each certificate, locked while
// this lives.
class FileStore final : public Store {
 public:
  // Makes the directory when it is missing. kConflict: another process uses it.
  static Result<FileStore> open(std::filesystem::path directory);

  Result<std::vector<Account>> accounts() override;
  Result<std::vector<IssuedCertificate>> certificates() override;
  Result<> save(const Account& account) override;
  Result<> save(const IssuedCertificate& certificate) override;
  Result<> remove_certificate(const std::string& id) override;

 private:
  FileStore(std::filesystem::path directory, FileLock lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}

  std::filesystem::path directory_;
  FileLock lock_;
};

}  // namespace culvert::ca
