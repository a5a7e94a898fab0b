#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace culvert::tls {

// A certificate signing request of a peer (RFC 2986) whose signature was checked. Immutable.
class CertificateRequest {
 public:
  static constexpr size_t kMaxNames = 100;

  // DER. kInvalid: not a request that is signed by its key, a name that is neither a hostname nor a wildcard,
  // no name, or a key that certificates are not made for: others than RSA with 2048 to 4096 bits, ECDSA on
  // P-256 or P-384, and Ed25519. kLimit: more than kMaxNames.
  static Result<CertificateRequest> from_der(ByteView der);

  // In lower case and sorted, each once: the alternative names and the common name.
  const std::vector<std::string>& names() const { return names_; }
  // The SubjectPublicKeyInfo in DER.
  const Bytes& public_key_der() const { return public_key_der_; }

 private:
  CertificateRequest() = default;

  std::vector<std::string> names_;
  Bytes public_key_der_;
};

}  // namespace culvert::tls
