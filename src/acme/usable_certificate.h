#pragma once
#include <string>

#include "acme/record.h"
#include "acme/renewal.h"
#include "tls/public_certificate.h"

namespace culvert::acme {

// A stored certificate that can be served.
struct UsableCertificate {
  tls::CertificateChain chain;
  tls::IdentityPtr identity;

  Validity validity() const { return {.not_before = chain.not_before(), .not_after = chain.not_after()}; }
};

// kInvalid: it is damaged, its key is another one's, or it is not for `name`, a hostname or a wildcard.
// Whether it is valid now is not looked at.
Result<UsableCertificate> make_usable(const StoredCertificate& stored, const std::string& name);

}  // namespace culvert::acme
