#include "tls/public_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/check.h"
#include "base/hostname.h"
#include "base/text.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpenSslDelete<X509_REQ_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslDelete<GENERAL_NAMES_free>>;
using AuthorityKeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, OpenSslDelete<AUTHORITY_KEYID_free>>;

// A clock that is a little behind that of the CA makes no certificate useless.
constexpr auto kClockSkew = std::chrono::hours(1);

void free_extensions(STACK_OF(X509_EXTENSION) * extensions) {
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), OpenSslDelete<free_extensions>>;

template <class T>
Bytes der_of(int (*encode)(const T*, unsigned char**), const T* object) {
  unsigned char* data = nullptr;
  const int size = encode(object, &data);
  if (size <= 0) return {};
  Bytes out(data, data + size);
  OPENSSL_free(data);
  return out;
}

ByteView content_of(const ASN1_STRING* text) {
  return {ASN1_STRING_get0_data(text), static_cast<size_t>(ASN1_STRING_length(text))};
}

std::vector<std::string> dns_names_of(X509* certificate) {
  const GeneralNamesPtr all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> out;
  for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) continue;
    out.push_back(to_lower(as_text(content_of(name->d.dNSName))));
  }
  return out;
}

// Without the two bytes of type and length: a serial has at most 20 bytes (RFC 5280, 4.1.2.2).
Bytes serial_of(X509* certificate) {
  Bytes der = der_of(i2d_ASN1_INTEGER, X509_get0_serialNumber(certificate));
  if (der.size() > 2 && der[1] < 0x80) der.erase(der.begin(), der.begin() + 2);
  return der;
}

Bytes authority_key_id_of(X509* certificate) {
  const AuthorityKeyIdPtr id(static_cast<AUTHORITY_KEYID*>(
      X509_get_ext_d2i(certificate, NID_authority_key_identifier, nullptr, nullptr)));
  if (!id || id->keyid == nullptr) return {};
  const ByteView content = content_of(id->keyid);
  return {content.begin(), content.end()};
}

std::string issuer_name_of(X509* certificate) {
  X509_NAME* issuer = X509_get_issuer_name(certificate);
  const int at = X509_NAME_get_index_by_NID(issuer, NID_commonName, -1);
  if (at < 0) return {};
  return std::string(as_text(content_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(issuer, at)))));
}

Result<std::vector<X509Ptr>> read_certificates(std::string_view pem) {
  ERR_clear_error();
  const BioPtr bio = bio_over(pem);
  std::vector<X509Ptr> out;
  while (X509Ptr certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (out.size() == CertificateChain::kMaxCertificates) {
      return fail(ErrorCode::kLimit, "the chain has more than {} certificates",
                  CertificateChain::kMaxCertificates);
    }
    out.push_back(std::move(certificate));
  }
  // What ends the list is the end of the text, or something that is not a certificate.
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return fail(ErrorCode::kInvalid, "certificate {} of the chain cannot be read: {}", out.size() + 1,
                take_openssl_error());
  }
  ERR_clear_error();
  if (out.empty()) return fail(ErrorCode::kInvalid, "the chain holds no certificate in PEM");
  return out;
}

Result<> check_order(const std::vector<X509Ptr>& chain) {
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    if (X509_check_issued(chain[i + 1].get(), chain[i].get()) != X509_V_OK) {
      return fail(ErrorCode::kInvalid, "certificate {} of the chain is not issued by the next one", i + 1);
    }
  }
  return {};
}

std::string date_text(UnixTime time) {
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(time));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()));
}

}  // namespace

Result<Bytes> certificate_request(const P256Key& key, const std::vector<std::string>& names) {
  if (names.empty()) return fail(ErrorCode::kInvalid, "a certificate is for at least one name");
  std::string alternative;
  for (const std::string& name : names) {
    if (!is_hostname_or_wildcard(name)) {
      return fail(ErrorCode::kInvalid, "cannot ask for a certificate for {}: it is not a lower-case hostname",
                  quoted(name));
    }
    alternative += (alternative.empty() ? "DNS:" : ",DNS:") + name;
  }
  const RequestPtr request(X509_REQ_new());
  CHECK(request && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1);
  CHECK(X509_REQ_set_pubkey(request.get(), pkey_of(key)) == 1);
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, nullptr, nullptr, request.get(), nullptr, 0);
  X509_EXTENSION* names_extension =
      X509V3_EXT_conf_nid(nullptr, &context, NID_subject_alt_name, alternative.c_str());
  const ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
  CHECK(names_extension && extensions && sk_X509_EXTENSION_push(extensions.get(), names_extension) == 1);
  CHECK(X509_REQ_add_extensions(request.get(), extensions.get()) == 1);
  CHECK(X509_REQ_sign(request.get(), pkey_of(key), EVP_sha256()) > 0);
  return der_of(i2d_X509_REQ, static_cast<const X509_REQ*>(request.get()));
}

Result<Bytes> serial_of(ByteView certificate_der) {
  const uint8_t* at = certificate_der.data();
  const X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(certificate_der.size())));
  if (!certificate) return fail(ErrorCode::kInvalid, "it is not a certificate: {}", take_openssl_error());
  return serial_of(certificate.get());
}

Result<CertificateChain> CertificateChain::from_pem(std::string_view pem) {
  auto certificates = read_certificates(pem);
  if (!certificates) return std::unexpected(certificates.error());
  auto ordered = check_order(*certificates);
  if (!ordered) return std::unexpected(ordered.error());
  X509* leaf = certificates->front().get();
  auto not_before = unix_time_of(X509_get0_notBefore(leaf));
  auto not_after = unix_time_of(X509_get0_notAfter(leaf));
  if (!not_before) return std::unexpected(not_before.error());
  if (!not_after) return std::unexpected(not_after.error());
  if (*not_after <= *not_before) return fail(ErrorCode::kInvalid, "the certificate ends before it begins");
  CertificateChain out;
  for (const X509Ptr& certificate : *certificates) out.pem_ += to_pem(certificate.get());
  out.leaf_der_ = der_of(i2d_X509, static_cast<const X509*>(leaf));
  out.not_before_ = *not_before;
  out.not_after_ = *not_after;
  out.names_ = dns_names_of(leaf);
  out.serial_ = serial_of(leaf);
  out.authority_key_id_ = authority_key_id_of(leaf);
  out.public_key_der_ = der_of(i2d_X509_PUBKEY, static_cast<const X509_PUBKEY*>(X509_get_X509_PUBKEY(leaf)));
  out.root_name_ = issuer_name_of(certificates->back().get());
  ERR_clear_error();
  return out;
}

Result<> CertificateChain::check(const P256Key& key, const std::vector<std::string>& names,
                                 UnixTime now) const {
  auto served = identity(key);
  if (!served) return std::unexpected(served.error());
  for (const std::string& name : names) {
    if (std::ranges::find(names_, name) == names_.end()) {
      return fail(ErrorCode::kInvalid, "the certificate is not for {}", name);
    }
  }
  if (now + kClockSkew < not_before_ || now >= not_after_) {
    return fail(ErrorCode::kInvalid,
                "the certificate is valid from {} to {}, but this machine's clock says {}; check the clock",
                date_text(not_before_), date_text(not_after_), date_text(now));
  }
  return {};
}

Result<IdentityPtr> CertificateChain::identity(const P256Key& key) const {
  auto certificates = read_certificates(pem_);
  CHECK(certificates);
  std::vector<X509*> issuers;
  for (size_t i = 1; i < certificates->size(); ++i) issuers.push_back((*certificates)[i].get());
  if (X509_check_private_key(certificates->front().get(), pkey_of(key)) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "the certificate is not for this private key");
  }
  return make_identity(certificates->front().get(), pkey_of(key), issuers, not_after_);
}

}  // namespace culvert::tls
