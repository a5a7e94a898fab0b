#include "ca/account.h"

#include <boost/json.hpp>

#include "base/check.h"
#include "base/json.h"

namespace culvert::ca {

namespace json = boost::json;

std::string encode(const Account& account) {
  return json::serialize(json::object{{"id", account.id},
                                      {"jwk", account.key.jwk},
                                      {"contacts", json_array(account.contacts)},
                                      {"deactivated", account.is_deactivated}});
}

Result<Account> parse_account(std::string_view text) {
  const auto object = parse_json_object("account", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("account", *object);
  const std::string id(reader.text("id"));
  auto key = parse_account_key(reader.text("jwk"));
  auto contacts = reader.texts("contacts");
  const bool is_deactivated = reader.boolean("deactivated");
  if (reader.error()) return std::unexpected(*reader.error());
  if (!key) return std::unexpected(key.error());
  return Account{
      .id = id, .key = std::move(*key), .contacts = std::move(contacts), .is_deactivated = is_deactivated};
}

const Account* Accounts::find(const std::string& id) const {
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? nullptr : &found->second;
}

const Account* Accounts::find_by_key(const AccountKey& key) const {
  const auto found = ids_.find(key.thumbprint);
  return found == ids_.end() ? nullptr : find(found->second);
}

void Accounts::put(Account account) {
  if (const Account* before = find(account.id)) ids_.erase(before->key.thumbprint);
  const bool is_new_key = ids_.emplace(account.key.thumbprint, account.id).second;
  CHECK(is_new_key);
  const std::string id = account.id;
  accounts_.insert_or_assign(id, std::move(account));
}

}  // namespace culvert::ca
