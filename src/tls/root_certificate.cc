#include "tls/root_certificate.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/encoding.h"
#include "base/text.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

std::string name_of(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) {
    const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    const ByteView raw(ASN1_STRING_get0_data(text), static_cast<size_t>(ASN1_STRING_length(text)));
    return std::string(as_text(raw));
  }
  std::array<char, 256> line{};
  X509_NAME_oneline(subject, line.data(), static_cast<int>(line.size()));
  return line.data();
}

}  // namespace

Result<RootCertificate> RootCertificate::from_pem(std::string_view pem) {
  ERR_clear_error();
  auto certificates = parse_certificates(std::string(pem));
  if (!certificates) return std::unexpected(certificates.error());
  if (certificates->size() != 1) {
    return fail(ErrorCode::kInvalid, "it holds {} PEM certificates (expected one, the root)",
                certificates->size());
  }
  X509* certificate = certificates->front().get();
  // 1 is "a CA by its basic constraints"; higher values are guesses about old certificates.
  const bool is_ca = X509_check_ca(certificate) == 1;
  const bool is_signed_by_itself = X509_self_signed(certificate, 1) == 1;
  ERR_clear_error();
  if (!is_ca) return fail(ErrorCode::kInvalid, "its certificate is not that of a CA");
  if (!is_signed_by_itself)
    return fail(ErrorCode::kInvalid, "its certificate is not a root: another CA signed it");
  auto not_after = unix_time_of(X509_get0_notAfter(certificate));
  if (!not_after) return std::unexpected(not_after.error());
  unsigned char* data = nullptr;
  const int size = i2d_X509(certificate, &data);
  if (size <= 0) return fail(ErrorCode::kInvalid, "its certificate cannot be written");
  const Sha256 digest = sha256(ByteView(data, static_cast<size_t>(size)));
  OPENSSL_free(data);
  return RootCertificate{
      .pem = to_pem(certificate), .name = name_of(certificate), .digest = digest, .not_after = *not_after};
}

std::string RootCertificate::fingerprint() const {
  std::string out;
  for (const uint8_t byte : digest) out += fmt::format("{}{:02X}", out.empty() ? "" : ":", byte);
  return out;
}

Result<Sha256> parse_fingerprint(std::string_view text) {
  std::string digits = to_lower(text);
  std::erase(digits, ':');
  const auto bytes = from_hex(digits);
  Sha256 out;
  if (!bytes || bytes->size() != out.size()) {
    return fail(ErrorCode::kInvalid,
                "invalid fingerprint {} (expected the 64 hexadecimal digits of a SHA-256)", quoted(text));
  }
  std::ranges::copy(*bytes, out.begin());
  return out;
}

}  // namespace culvert::tls
