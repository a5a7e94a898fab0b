#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/ascii.h"
#include "base/check.h"
#include "tls/stream.h"

// The client's side of the challenge tls-alpn-01: what a CA looks at (RFC 8737, 3).
namespace culvert::tls {
namespace {

using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslDelete<GENERAL_NAMES_free>>;
using ObjectPtr = std::unique_ptr<ASN1_OBJECT, OpenSslDelete<ASN1_OBJECT_free>>;

ByteView content_of(const ASN1_STRING* text) {
  return {ASN1_STRING_get0_data(text), static_cast<size_t>(ASN1_STRING_length(text))};
}

// One dNSName, and nothing else.
bool is_for_name_alone(X509* certificate, const std::string& name) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (!names || sk_GENERAL_NAME_num(names.get()) != 1) return false;
  const GENERAL_NAME* only = sk_GENERAL_NAME_value(names.get(), 0);
  return only->type == GEN_DNS && equals_lower(as_text(content_of(only->d.dNSName)), name);
}

bool has_digest(X509* certificate, const Sha256& digest) {
  const ObjectPtr type(OBJ_txt2obj(kAcmeIdentifier, 1));
  CHECK(type);
  const int at = X509_get_ext_by_OBJ(certificate, type.get(), -1);
  if (at < 0) return false;
  X509_EXTENSION* extension = X509_get_ext(certificate, at);
  const ByteView value = content_of(X509_EXTENSION_get_data(extension));
  constexpr uint8_t kOctetString = 4;
  return X509_EXTENSION_get_critical(extension) == 1 && value.size() == digest.size() + 2 &&
         value[0] == kOctetString && value[1] == digest.size() &&
         equal_constant_time(value.subspan(2), digest);
}

std::unexpected<Error> not_the_answer(const std::string& name, std::string_view why) {
  return fail(ErrorCode::kUnauthorized, "the server of {} {}", name, why);
}

}  // namespace

net::Task<Result<>> check_acme_challenge(std::unique_ptr<net::ByteStream> transport, std::string name,
                                         Sha256 digest, TimePoint deadline) {
  auto connected = co_await connect(
      std::move(transport), name, make_client_context({.is_insecure = true, .alpn = {kAcmeAlpn}}), deadline);
  if (!connected.stream) co_return std::unexpected(connected.stream.error());
  auto* stream = dynamic_cast<Stream*>(connected.stream->get());
  CHECK(stream);
  SSL* ssl = stream->ssl();
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &length);
  if (std::string_view(reinterpret_cast<const char*>(protocol), length) != kAcmeAlpn) {
    co_return not_the_answer(name, "does not speak acme-tls/1: it has no answer to a challenge");
  }
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  const bool is_for_name = certificate && is_for_name_alone(certificate.get(), name);
  const bool is_answer = is_for_name && has_digest(certificate.get(), digest);
  ERR_clear_error();
  (*connected.stream)->close();
  if (!is_for_name) co_return not_the_answer(name, "shows a certificate that is not for this name alone");
  if (!is_answer) co_return not_the_answer(name, "shows a certificate with another challenge's answer");
  co_return Result<>();
}

}  // namespace culvert::tls
