#pragma once
#include <map>
#include <string>
#include <vector>

#include "acme/store.h"

// For tests: a store without files, which can break.
namespace culvert::acme::testing {

class MemoryStore final : public BlockingStore {
 public:
  std::map<std::string, Account> accounts;
  std::map<std::string, SecretString> records;  // encoded, as a restart reads them
  std::string budgets;
  bool broken = false;
  size_t saves = 0;

  Result<std::optional<Account>> load_account(const std::string& directory) override {
    const auto place = accounts.find(directory);
    if (place == accounts.end()) return std::nullopt;
    return place->second;
  }
  Result<> save_account(const std::string& directory, const Account& account) override {
    if (broken) return full();
    accounts.insert_or_assign(directory, account);
    return {};
  }
  Result<std::optional<Record>> load(const std::string& name) override {
    const auto place = records.find(name);
    if (place == records.end()) return std::nullopt;
    return parse_record(place->second).value();
  }
  Result<> save(const Record& record) override {
    if (broken) return full();
    ++saves;
    records.insert_or_assign(record.name, encode(record));
    return {};
  }
  Result<> remove(const std::string& name) override {
    records.erase(name);
    return {};
  }
  Result<std::vector<std::string>> names() override {
    std::vector<std::string> out;
    for (const auto& [name, record] : records) out.push_back(name);
    return out;
  }
  Result<std::string> load_budgets() override { return budgets; }
  Result<> save_budgets(const std::string& text) override {
    if (broken) return full();
    budgets = text;
    return {};
  }

 private:
  static std::unexpected<Error> full() { return fail(ErrorCode::kIo, "the disk is full"); }
};

}  // namespace culvert::acme::testing
