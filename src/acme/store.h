#pragma once
#include <optional>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/record.h"
#include "base/result.h"

namespace culvert::acme {

// Keeps accounts and certificates over restarts. Its calls block for as long as a small file takes to be
// written. What is damaged is reported by the store itself, and absent here.
class Store {
 public:
  virtual ~Store() = default;

  // With the CA of this directory URL. Errors: kIo.
  virtual Result<std::optional<Account>> load_account(const std::string& directory) = 0;
  virtual Result<> save_account(const std::string& directory, const Account& account) = 0;

  // Errors: kIo, and kInvalid for what is no hostname or wildcard. A record is replaced in one step.
  virtual Result<std::optional<Record>> load(const std::string& name) = 0;
  virtual Result<> save(const Record& record) = 0;
  virtual Result<> remove(const std::string& name) = 0;
  // The names that have a record.
  virtual Result<std::vector<std::string>> names() = 0;

  // Budgets::encode(). Empty: none was saved.
  virtual Result<std::string> load_budgets() = 0;
  virtual Result<> save_budgets(const std::string& text) = 0;
};

}  // namespace culvert::acme
