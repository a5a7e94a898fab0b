#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/result.h"
#include "tls/public_certificate.h"

namespace culvert::ca {

// A certificate that this CA issued.
struct IssuedCertificate {
  std::string id;  // its serial number in hex
  std::string account_id;
  tls::CertificateChain leaf;
  std::string renewal_id;  // RFC 9773, 4.1
  std::optional<UnixTime> revoked_at = std::nullopt;
  bool is_replaced = false;  // an order that named it was finished

  // The certificate of a PEM text. kInvalid.
  static Result<IssuedCertificate> from_pem(std::string account_id, const std::string& pem);
};

// As JSON, for a store.
std::string encode(const IssuedCertificate& certificate);
// kInvalid says what is wrong.
Result<IssuedCertificate> parse_issued_certificate(std::string_view text);

// Those that have not expired.
class IssuedCertificates {
 public:
  // About 3 KiB each, here and on disk. When there are more, the one that expires first is forgotten: it
  // stays valid, but can be neither fetched nor revoked any more.
  static constexpr size_t kMaxCertificates = 10'000;

  const IssuedCertificate* find(const std::string& id) const;
  const IssuedCertificate* find_by_renewal_id(const std::string& renewal_id) const;
  const IssuedCertificate* find_by_der(const Bytes& certificate) const;
  size_t size() const { return certificates_.size(); }

  // In place of the one with this id, or a new one.
  void put(IssuedCertificate certificate);
  // Removes one that has expired by `now`, or the first to expire when there are more than kMaxCertificates.
  // Its id; nullopt: none has to go.
  std::optional<std::string> remove_one(UnixTime now);

 private:
  std::map<std::string, IssuedCertificate> certificates_;
  std::unordered_map<std::string, std::string> ids_;  // by renewal id
  std::set<std::pair<UnixTime, std::string>> ends_;
};

}  // namespace culvert::ca
