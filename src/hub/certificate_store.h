#pragma once
#include <string>
#include <vector>

#include "acme/store.h"
#include "base/crypto_seal.h"
#include "base/key.h"
#include "base/random.h"
#include "hub/ledger.h"
#include "hub/state.h"

namespace culvert::hub {

// The hub's database as the place of certificates, accounts and budgets. A private key is sealed with a key
// that follows from the hub's own and never is in the database, in the place of its record: whoever reads a
// database, a backup or an export cannot serve for a name, and whoever writes to it cannot swap keys. On the
// hub's loop.
class CertificateStore final : public acme::Store {
 public:
  // All outlive it.
  CertificateStore(const State& state, Ledger& ledger, const SecretKey& hub_key, Random& random);

  Result<std::optional<acme::Account>> load_account(const std::string& directory) override;
  Result<std::optional<acme::Record>> load(const std::string& name) override;
  // Without its private key.
  Result<std::optional<acme::Record>> load_public(const std::string& name) const;
  Result<std::vector<std::string>> names() override;
  // At most so many, in their order, behind `after`.
  std::vector<std::string> names_after(const std::string& after, size_t most) const;
  Result<std::string> load_budgets() override { return state_.certificates.budgets(); }

  // Errors: as Ledger::commit(), and kConflict when another hub orders.
  net::Task<Result<>> put_account(std::string directory, acme::Account account) override;
  net::Task<Result<>> put(acme::Record record) override;
  net::Task<Result<>> erase(std::string name) override;
  net::Task<Result<>> put_budgets(std::string text) override;

  // The same for any record of Certificates.
  net::Task<Result<>> write(Record record);
  // Whether this hub is the one that orders.
  bool is_orderer() const;

 private:
  std::string seal_text(const Record& place, const SecretString& secret);
  Result<SecretString> open_text(const Record& place, std::string_view sealed) const;

  const State& state_;
  Ledger& ledger_;
  const SealKey key_;
  Random& random_;
};

}  // namespace culvert::hub
