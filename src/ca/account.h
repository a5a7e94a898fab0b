#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "ca/account_key.h"

namespace culvert::ca {

struct Account {
  std::string id;
  AccountKey key;
  std::vector<std::string> contacts = {};  // mailto: URLs
  bool is_deactivated = false;             // for ever; its key gets no other account
};

// As JSON, for a store.
std::string encode(const Account& account);
// kInvalid says what is wrong.
Result<Account> parse_account(std::string_view text);

// The accounts of a server, by id and by key.
class Accounts {
 public:
  // An account takes about 2 KiB here and a small file. Anyone who reaches the server may make one, and none
  // is ever removed: further ones are refused.
  static constexpr size_t kMaxAccounts = 10'000;

  const Account* find(const std::string& id) const;
  const Account* find_by_key(const AccountKey& key) const;
  bool is_full() const { return accounts_.size() >= kMaxAccounts; }
  size_t size() const { return accounts_.size(); }

  // In place of the one with this id, or a new one. No other account has its key.
  void put(Account account);

 private:
  std::map<std::string, Account> accounts_;
  std::unordered_map<std::string, std::string> ids_;  // by thumbprint
};

}  // namespace culvert::ca
