#include "acme/usable_certificate.h"

#include <algorithm>

namespace culvert::acme {

Result<UsableCertificate> make_usable(const StoredCertificate& stored, const std::string& name) {
  auto key = tls::P256Key::from_pem(stored.key);
  if (!key) return std::unexpected(key.error());
  auto chain = tls::CertificateChain::from_pem(stored.chain);
  if (!chain) return std::unexpected(chain.error());
  if (std::ranges::find(chain->names(), name) == chain->names().end())
    return fail(ErrorCode::kInvalid, "the certificate is not for {}", name);
  auto identity = chain->identity(*key);
  if (!identity) return std::unexpected(identity.error());
  return UsableCertificate{.chain = std::move(*chain), .identity = std::move(*identity)};
}

}  // namespace culvert::acme
