#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "tls/p256_key.h"
#include "tls/tls.h"

// Certificates of other CAs: how one is asked for, and what came back.
namespace culvert::tls {

// A certificate signing request (RFC 2986) in DER for hostnames and wildcards: an empty subject, the names as
// SANs. kInvalid: no name, or one that is neither.
Result<Bytes> certificate_request(const P256Key& key, const std::vector<std::string>& names);

// The serial number of a certificate in DER, as CertificateChain::serial(). kInvalid: it is not one.
Result<Bytes> serial_of(ByteView certificate_der);

// A leaf and what it chains to, as a CA sent them. Nothing of it is trusted: clients decide whether they
// believe it. Immutable.
class CertificateChain {
 public:
  // Chains are of 2 to 4 certificates today; a post-quantum one is not longer, its certificates are.
  static constexpr size_t kMaxCertificates = 8;

  // PEM, leaf first; each certificate is signed by the next. kInvalid; kLimit: too many certificates.
  static Result<CertificateChain> from_pem(std::string_view pem);

  const std::string& pem() const { return pem_; }  // the certificates alone
  const Bytes& leaf_der() const { return leaf_der_; }
  UnixTime not_before() const { return not_before_; }
  UnixTime not_after() const { return not_after_; }
  // The dNSNames of the leaf, in lower case.
  const std::vector<std::string>& names() const { return names_; }
  // The content octets of the leaf's serial number in DER.
  const Bytes& serial() const { return serial_; }
  // The keyIdentifier of the leaf's authority key identifier; empty: it has none.
  const Bytes& authority_key_id() const { return authority_key_id_; }
  // The leaf's SubjectPublicKeyInfo in DER.
  const Bytes& public_key_der() const { return public_key_der_; }
  // The common name of the issuer of the last certificate: the root that the chain leads to.
  const std::string& root_name() const { return root_name_; }

  // kInvalid: the leaf is not for this key, not for all of these names, or not valid at `now`, give or take a
  // clock that is up to an hour behind.
  Result<> check(const P256Key& key, const std::vector<std::string>& names, UnixTime now) const;
  // What serves it. kInvalid: the leaf is not for this key.
  Result<IdentityPtr> identity(const P256Key& key) const;

 private:
  CertificateChain() = default;

  std::string pem_;
  Bytes leaf_der_;
  UnixTime not_before_, not_after_;
  std::vector<std::string> names_;
  Bytes serial_, authority_key_id_, public_key_der_;
  std::string root_name_;
};

}  // namespace culvert::tls
