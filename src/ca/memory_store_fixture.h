#pragma once
#include <map>
#include <string>
#include <vector>

#include "ca/store.h"

// For tests: a store without files, which can break.
namespace culvert::ca::testing {

class MemoryStore final : public Store {
 public:
  // As a restart reads them.
  std::map<std::string, std::string> kept_accounts, kept_certificates;
  bool broken = false;

  Result<std::vector<Account>> accounts() override {
    std::vector<Account> out;
    for (const auto& [id, text] : kept_accounts) out.push_back(parse_account(text).value());
    return out;
  }
  Result<std::vector<IssuedCertificate>> certificates() override {
    std::vector<IssuedCertificate> out;
    for (const auto& [id, text] : kept_certificates) out.push_back(parse_issued_certificate(text).value());
    return out;
  }
  Result<> save(const Account& account) override {
    if (broken) return fail(ErrorCode::kIo, "the disk is full");
    kept_accounts.insert_or_assign(account.id, encode(account));
    return {};
  }
  Result<> save(const IssuedCertificate& certificate) override {
    if (broken) return fail(ErrorCode::kIo, "the disk is full");
    kept_certificates.insert_or_assign(certificate.id, encode(certificate));
    return {};
  }
  Result<> remove_certificate(const std::string& id) override {
    kept_certificates.erase(id);
    return {};
  }
};

}  // namespace culvert::ca::testing
