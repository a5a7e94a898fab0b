#pragma once
#include "ca/state.h"

namespace culvert::ca {

// Requests about certificates that were issued.
class CertificateHandler {
 public:
  explicit CertificateHandler(State& state) : state_(state) {}

  // The chain: the leaf and the root (RFC 8555, 7.4.2).
  Outcome<http::Response> download(const Call& call);
  // By the account that it was issued to, one that has proven all of its names, or its own key (RFC
  // 8555, 7.6). It is written down, and its renewal is due at once: there is no list of revoked certificates.
  Outcome<http::Response> revoke(const Call& call);
  // When it should be renewed (RFC 9773, 4.2).
  Outcome<http::Response> renewal_info(const std::string& renewal_id, UnixTime now);

 private:
  bool may_revoke(const Call& call, const IssuedCertificate& certificate);

  State& state_;
};

}  // namespace culvert::ca
