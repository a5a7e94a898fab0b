#include "ca/issued_certificate.h"

#include <boost/json.hpp>

#include "acme/documents.h"
#include "base/encoding.h"
#include "base/json.h"

namespace culvert::ca {

namespace json = boost::json;

Result<IssuedCertificate> IssuedCertificate::from_pem(std::string account_id, const std::string& pem) {
  auto leaf = tls::CertificateChain::from_pem(pem);
  if (!leaf) return std::unexpected(leaf.error());
  auto renewal_id = acme::renewal_id(*leaf);
  if (!renewal_id) return fail(ErrorCode::kInvalid, "the certificate has no authority key identifier");
  std::string id = to_hex(leaf->serial());
  return IssuedCertificate{.id = std::move(id),
                           .account_id = std::move(account_id),
                           .leaf = std::move(*leaf),
                           .renewal_id = std::move(*renewal_id)};
}

std::string encode(const IssuedCertificate& certificate) {
  json::object out{{"account", certificate.account_id},
                   {"certificate", certificate.leaf.pem()},
                   {"replaced", certificate.is_replaced}};
  if (certificate.revoked_at) out["revoked_at"] = certificate.revoked_at->time_since_epoch().count();
  return json::serialize(out);
}

Result<IssuedCertificate> parse_issued_certificate(std::string_view text) {
  const auto object = parse_json_object("certificate", text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader("certificate", *object);
  const std::string account_id(reader.text("account")), pem(reader.text("certificate"));
  const bool is_replaced = reader.boolean("replaced");
  std::optional<UnixTime> revoked_at;
  if (reader.has("revoked_at")) revoked_at = reader.time("revoked_at");
  if (reader.error()) return std::unexpected(*reader.error());
  auto out = IssuedCertificate::from_pem(account_id, pem);
  if (!out) return out;
  out->is_replaced = is_replaced;
  out->revoked_at = revoked_at;
  return out;
}

const IssuedCertificate* IssuedCertificates::find(const std::string& id) const {
  const auto found = certificates_.find(id);
  return found == certificates_.end() ? nullptr : &found->second;
}

const IssuedCertificate* IssuedCertificates::find_by_renewal_id(const std::string& renewal_id) const {
  const auto found = ids_.find(renewal_id);
  return found == ids_.end() ? nullptr : find(found->second);
}

// Its serial leads to the one that has to be the same.
const IssuedCertificate* IssuedCertificates::find_by_der(const Bytes& certificate) const {
  const auto serial = tls::serial_of(certificate);
  const IssuedCertificate* found = serial ? find(to_hex(*serial)) : nullptr;
  return found != nullptr && found->leaf.leaf_der() == certificate ? found : nullptr;
}

void IssuedCertificates::put(IssuedCertificate certificate) {
  const std::string id = certificate.id;
  ids_.insert_or_assign(certificate.renewal_id, id);
  ends_.emplace(certificate.leaf.not_after(), id);
  certificates_.insert_or_assign(id, std::move(certificate));
}

std::optional<std::string> IssuedCertificates::remove_one(UnixTime now) {
  if (ends_.empty()) return std::nullopt;
  if (ends_.begin()->first > now && size() <= kMaxCertificates) return std::nullopt;
  std::string id = ends_.begin()->second;
  ends_.erase(ends_.begin());
  ids_.erase(certificates_.at(id).renewal_id);
  certificates_.erase(id);
  return id;
}

}  // namespace culvert::ca
