#pragma once
#include <optional>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/record.h"
#include "base/result.h"
#include "net/event_loop.h"

namespace culvert::acme {

// Keeps accounts and certificates over restarts. Reads are answered at once; a write has an end of its own,
// since a database may be elsewhere. What is damaged is reported by the store itself, and absent here.
class Store {
 public:
  virtual ~Store() = default;

  // With the CA of this directory URL. Errors: kIo.
  virtual Result<std::optional<Account>> load_account(const std::string& directory) = 0;
  virtual net::Task<Result<>> put_account(std::string directory, Account account) = 0;

  // Errors: kIo, and kInvalid for what is no hostname or wildcard; of a database also kUnavailable, it does
  // not answer, and kConflict, another process orders now. A record is replaced in one step. Two writes of
  // one record keep their order.
  virtual Result<std::optional<Record>> load(const std::string& name) = 0;
  virtual net::Task<Result<>> put(Record record) = 0;
  virtual net::Task<Result<>> erase(std::string name) = 0;
  // The names that have a record.
  virtual Result<std::vector<std::string>> names() = 0;

  // Budgets::encode(). Empty: none was saved.
  virtual Result<std::string> load_budgets() = 0;
  virtual net::Task<Result<>> put_budgets(std::string text) = 0;
};

// A store whose writes block for as long as a small file takes to be written.
class BlockingStore : public Store {
 public:
  virtual Result<> save_account(const std::string& directory, const Account& account) = 0;
  virtual Result<> save(const Record& record) = 0;
  virtual Result<> remove(const std::string& name) = 0;
  virtual Result<> save_budgets(const std::string& text) = 0;

  net::Task<Result<>> put_account(std::string directory, Account account) final {
    co_return save_account(directory, account);
  }
  net::Task<Result<>> put(Record record) final { co_return save(record); }
  net::Task<Result<>> erase(std::string name) final { co_return remove(name); }
  net::Task<Result<>> put_budgets(std::string text) final { co_return save_budgets(text); }
};

}  // namespace culvert::acme
