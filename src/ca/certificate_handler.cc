#include "ca/certificate_handler.h"

#include <algorithm>
#include <boost/json.hpp>

#include "acme/timestamp.h"
#include "base/encoding.h"
#include "ca/payload.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;
using acme::ProblemType;
using std::chrono::seconds;

}  // namespace

// A client such as certbot wants at least two certificates, so the root comes with the leaf that it signs.
Outcome<http::Response> CertificateHandler::download(const Call& call) {
  auto empty = expect_no_payload(call.request.payload);
  if (!empty) return std::unexpected(empty.error());
  const IssuedCertificate* certificate = state_.certificates.find(call.resource.id);
  if (certificate == nullptr) return not_found("certificate");
  if (certificate->account_id != call.account->id) return of_another_account("certificate");
  http::Response out{
      .status = 200, .headers = {}, .body = certificate->leaf.pem() + state_.root.certificate_pem()};
  out.headers.add("Content-Type", "application/pem-certificate-chain");
  return out;
}

bool CertificateHandler::may_revoke(const Call& call, const IssuedCertificate& certificate) {
  if (call.account == nullptr)
    return call.request.key->key.public_key_der() == certificate.leaf.public_key_der();
  if (certificate.account_id == call.account->id) return true;
  const auto orders = state_.orders.of_account(call.account->id, call.now);
  return std::ranges::all_of(certificate.leaf.names(), [&orders](const std::string& name) {
    return std::ranges::any_of(orders, [&name](const PlacedOrder* order) {
      const auto at = std::ranges::find(order->names, name);
      if (at == order->names.end()) return false;
      const auto index = static_cast<size_t>(at - order->names.begin());
      return order->authorizations.at(index).status == acme::AuthorizationStatus::kValid;
    });
  });
}

Outcome<http::Response> CertificateHandler::revoke(const Call& call) {
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  JsonReader reader("payload", *payload);
  const auto der = from_base64url(reader.text("certificate"));
  if (!der) reader.set_error("certificate", "is not base64url");
  if (reader.error()) return malformed("{}", reader.error()->message);
  if (const json::value* reason = payload->if_contains("reason")) {
    // What a subscriber can know (RFC 5280, 5.3.1): unspecified, key compromise, affiliation changed,
    // superseded, cessation of operation.
    constexpr std::array<int64_t, 5> kReasons = {0, 1, 3, 4, 5};
    if (!reason->is_int64() || std::ranges::find(kReasons, reason->get_int64()) == kReasons.end())
      return refuse(400, ProblemType::kBadRevocationReason, "the reason is not one of {}",
                    fmt::join(kReasons, ", "));
  }
  const IssuedCertificate* certificate = state_.certificates.find_by_der(*der);
  if (certificate == nullptr) return not_found("certificate");
  if (!may_revoke(call, *certificate)) {
    return refuse(403, ProblemType::kUnauthorized,
                  "the certificate is not one of this account, and its names were not proven by it");
  }
  if (certificate->revoked_at)
    return refuse(400, ProblemType::kAlreadyRevoked, "the certificate is revoked already");
  IssuedCertificate revoked = *certificate;
  revoked.revoked_at = call.now;
  auto kept = state_.keep(revoked, call.now);
  if (!kept) return std::unexpected(kept.error());
  ++state_.counters.revoked;
  state_.observer.revoked(revoked);
  return http::Response{.status = 200, .headers = {}, .body = {}};
}

Outcome<http::Response> CertificateHandler::renewal_info(const std::string& renewal_id, UnixTime now) {
  const IssuedCertificate* certificate = state_.certificates.find_by_renewal_id(renewal_id);
  if (certificate == nullptr) return not_found("certificate");
  // With a third of the life left, within a twentieth of it; at once when it is revoked.
  const UnixTime from = certificate->leaf.not_before();
  const seconds lifetime = certificate->leaf.not_after() - from;
  const UnixTime start = certificate->revoked_at ? from : from + lifetime * 2 / 3;
  const UnixTime end = certificate->revoked_at ? std::min(now, from + seconds(1)) : start + lifetime / 20;
  http::Response out = json_response(
      200, json::object{{"suggestedWindow",
                         {{"start", acme::to_timestamp(start)}, {"end", acme::to_timestamp(end)}}}});
  // Public CAs say 6 hours; certificates that live for less are asked about more often.
  constexpr seconds kLeast(60), kMost(6 * 3600);
  const seconds retry_after = std::clamp(lifetime / 100, kLeast, kMost);
  out.headers.add("Retry-After", std::to_string(retry_after.count()));
  return out;
}

}  // namespace culvert::ca
