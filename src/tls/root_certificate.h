#pragma once
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/result.h"

namespace culvert::tls {

// The certificate of a CA that signed itself, as somebody is about to trust it.
struct RootCertificate {
  std::string pem;   // the certificate alone
  std::string name;  // its common name, or its whole subject where it has none
  Sha256 digest;     // of the DER
  UnixTime not_after;

  // PEM. kInvalid: not one certificate alone, not of a CA, or not signed by itself.
  static Result<RootCertificate> from_pem(std::string_view pem);

  // The digest as openssl x509 -fingerprint -sha256 prints it: "AB:01:...".
  std::string fingerprint() const;
};

// The digest that a fingerprint stands for: 64 hexadecimal digits of either case, with colons between the
// bytes or without. kInvalid.
Result<Sha256> parse_fingerprint(std::string_view text);

}  // namespace culvert::tls
