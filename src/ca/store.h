#pragma once
#include <string>
#include <vector>

#include "ca/account.h"
#include "ca/issued_certificate.h"

namespace culvert::ca {

// Where accounts and certificates are kept, so that clients find both again after a restart. Orders are not
// kept: a client whose order is gone places another one. Errors name what could not be written or read.
class Store {
 public:
  virtual ~Store() = default;

  // What is damaged is left out, and told in the log.
  virtual Result<std::vector<Account>> accounts() = 0;
  virtual Result<std::vector<IssuedCertificate>> certificates() = 0;
  virtual Result<> save(const Account& account) = 0;
  virtual Result<> save(const IssuedCertificate& certificate) = 0;
  virtual Result<> remove_certificate(const std::string& id) = 0;
};

}  // namespace culvert::ca
