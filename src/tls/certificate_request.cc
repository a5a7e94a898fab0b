#include "tls/certificate_request.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/ascii.h"
#include "base/hostname.h"
#include "base/text.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpenSslDelete<X509_REQ_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslDelete<GENERAL_NAMES_free>>;

void free_extensions(STACK_OF(X509_EXTENSION) * extensions) {
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), OpenSslDelete<free_extensions>>;

std::string text_of(const ASN1_STRING* text) {
  const ByteView raw(ASN1_STRING_get0_data(text), static_cast<size_t>(ASN1_STRING_length(text)));
  return std::string(as_text(raw));
}

// Bounded, because checking the request's own signature costs as much as the key's size makes it.
Result<> check_key(EVP_PKEY* key) {
  constexpr int kMinRsaBits = 2048, kMaxRsaBits = 4096;
  const int bits = EVP_PKEY_get_bits(key);
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      if (bits >= kMinRsaBits && bits <= kMaxRsaBits) return {};
      return fail(ErrorCode::kInvalid, "its RSA key has {} bits (expected {} to {})", bits, kMinRsaBits,
                  kMaxRsaBits);
    case EVP_PKEY_EC: {
      std::array<char, 64> group{};
      const bool is_named = EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1;
      const std::string_view name(group.data());
      if (is_named && (name == SN_X9_62_prime256v1 || name == SN_secp384r1)) return {};
      return fail(ErrorCode::kInvalid, "its ECDSA key is not on the curve P-256 or P-384");
    }
    case EVP_PKEY_ED25519:
      return {};
    default:
      return fail(ErrorCode::kInvalid, "its key is neither of RSA, ECDSA nor Ed25519");
  }
}

Result<> add_name(std::set<std::string>& names, std::string_view text) {
  std::string name = to_lower(text);
  if (!is_hostname_or_wildcard(name)) {
    return fail(ErrorCode::kInvalid, "its name {} is neither a hostname nor a wildcard", quoted(text));
  }
  names.insert(std::move(name));
  if (names.size() <= CertificateRequest::kMaxNames) return {};
  return fail(ErrorCode::kLimit, "it has more than {} names", CertificateRequest::kMaxNames);
}

Result<> add_alternative_names(std::set<std::string>& names, X509_REQ* request) {
  const ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  const GeneralNamesPtr all(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) {
      return fail(ErrorCode::kInvalid, "one of its alternative names is not a DNS name");
    }
    auto added = add_name(names, text_of(name->d.dNSName));
    if (!added) return added;
  }
  return {};
}

Result<> add_common_names(std::set<std::string>& names, X509_REQ* request) {
  X509_NAME* subject = X509_REQ_get_subject_name(request);
  int at = -1;
  while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) {
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) return fail(ErrorCode::kInvalid, "its common name cannot be read");
    const std::string name(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
    OPENSSL_free(utf8);
    auto added = add_name(names, name);
    if (!added) return added;
  }
  return {};
}

}  // namespace

Result<CertificateRequest> CertificateRequest::from_der(ByteView der) {
  ERR_clear_error();
  const uint8_t* at = der.data();
  const RequestPtr request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  EVP_PKEY* key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  const bool is_whole = at == der.data() + der.size();
  ERR_clear_error();
  if (key == nullptr || !is_whole) {
    return fail(ErrorCode::kInvalid, "it is not a certificate signing request in DER");
  }
  auto usable = check_key(key);
  if (!usable) return std::unexpected(usable.error());
  const bool is_signed = X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (!is_signed) return fail(ErrorCode::kInvalid, "it is not signed by its own key");
  std::set<std::string> names;
  auto added = add_alternative_names(names, request.get());
  if (added) added = add_common_names(names, request.get());
  ERR_clear_error();
  if (!added) return std::unexpected(added.error());
  if (names.empty()) return fail(ErrorCode::kInvalid, "it has no name");
  CertificateRequest out;
  out.names_.assign(names.begin(), names.end());
  unsigned char* data = nullptr;
  const int size = i2d_PUBKEY(key, &data);
  if (size <= 0) return fail(ErrorCode::kInvalid, "its key cannot be written: {}", take_openssl_error());
  out.public_key_der_.assign(data, data + size);
  OPENSSL_free(data);
  return out;
}

}  // namespace culvert::tls
