#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/check.h"
#include "base/hostname.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;

constexpr auto kTenYears = std::chrono::days(3652);
// Certificates are accepted from an hour before they were made: clients' clocks are not exact.
constexpr auto kClockSkew = 1h;
constexpr auto kLeafLifetime = std::chrono::days(90);
// Longer than any order lives: a CA does not look at the dates.
constexpr auto kChallengeLifetime = std::chrono::days(7);
// ub-common-name, RFC 5280, appendix A.1.
constexpr size_t kMaxCommonName = 64;

void set_validity(X509* certificate, UnixTime from, UnixTime to) {
  CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate), from.time_since_epoch().count()));
  CHECK(ASN1_TIME_set(X509_getm_notAfter(certificate), to.time_since_epoch().count()));
}

// 127 random bits: a serial is positive and at most 20 bytes (RFC 5280, 4.1.2.2).
void set_random_serial(X509* certificate) {
  std::array<uint8_t, 16> bytes;
  CHECK(RAND_bytes(bytes.data(), bytes.size()) == 1);
  bytes[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
  CHECK(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)));
  BN_free(number);
}

// The name also stands in the subject where it fits: people look for it there, software looks in the SAN.
void set_subject(X509* certificate, std::string_view common_name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto add = [subject](const char* field, std::string_view value) {
    CHECK(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                     reinterpret_cast<const uint8_t*>(value.data()),
                                     static_cast<int>(value.size()), -1, 0) == 1);
  };
  add("O", "Culvert");
  if (common_name.size() <= kMaxCommonName) add("CN", common_name);
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Without a subject.
X509Ptr new_certificate(EVP_PKEY* key, UnixTime from, UnixTime to) {
  X509Ptr certificate(X509_new());
  CHECK(certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  set_random_serial(certificate.get());
  set_validity(certificate.get(), from, to);
  CHECK(X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

X509Ptr new_certificate(EVP_PKEY* key, std::string_view common_name, UnixTime from, UnixTime to) {
  X509Ptr certificate = new_certificate(key, from, to);
  set_subject(certificate.get(), common_name);
  return certificate;
}

bool has_ended(X509* certificate, UnixTime at) {
  time_t time = at.time_since_epoch().count();
  return X509_cmp_time(X509_get0_notAfter(certificate), &time) < 0;
}

// Only for names that passed parse_ip or is_hostname_or_wildcard: OpenSSL parses this text.
std::string alternative_name(const std::string& name) { return (parse_ip(name) ? "IP:" : "DNS:") + name; }

}  // namespace

struct InternalCa::Impl {
  X509Ptr certificate;
  PkeyPtr key;
  std::string pem;
};

InternalCa::InternalCa(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
InternalCa::~InternalCa() = default;

const std::string& InternalCa::certificate_pem() const { return impl_->pem; }

namespace {

std::string new_root(EVP_PKEY* key, std::string_view name, UnixTime now) {
  const X509Ptr certificate =
      new_certificate(key, name.substr(0, kMaxCommonName), now - kClockSkew, now + kTenYears);
  X509* root = certificate.get();
  CHECK(X509_set_issuer_name(root, X509_get_subject_name(root)) == 1);
  add_extension(root, root, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(root, root, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(root, root, NID_subject_key_identifier, "hash");
  CHECK(X509_sign(root, key, EVP_sha256()) > 0);
  return to_pem(root);
}

std::unexpected<Error> bad_private_key() {
  return fail(ErrorCode::kInvalid, "the CA's private key is not an unencrypted PEM key: {}",
              take_openssl_error());
}

}  // namespace

InternalCa::Pem InternalCa::create(std::string_view name, UnixTime now) {
  const PkeyPtr key = new_p256_key();
  return {.certificate = new_root(key.get(), name, now), .private_key = to_pem(key.get())};
}

Result<InternalCa::Pem> InternalCa::certify(std::string_view name, const SecretString& private_key,
                                            UnixTime now) {
  const PkeyPtr key = read_private_key(private_key);
  if (!key) return bad_private_key();
  return Pem{.certificate = new_root(key.get(), name, now), .private_key = private_key};
}

Result<std::unique_ptr<InternalCa>> InternalCa::load(const Pem& pem) {
  auto impl = std::make_unique<Impl>();
  impl->certificate.reset(PEM_read_bio_X509(bio_over(pem.certificate).get(), nullptr, nullptr, nullptr));
  if (!impl->certificate) {
    return fail(ErrorCode::kInvalid, "the CA's certificate is not a PEM certificate: {}",
                take_openssl_error());
  }
  // 1 is "a CA by its basic constraints"; higher values are guesses about old certificates.
  if (X509_check_ca(impl->certificate.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "the CA's certificate is not that of a CA");
  }
  impl->key = read_private_key(pem.private_key);
  if (!impl->key) return bad_private_key();
  if (X509_check_private_key(impl->certificate.get(), impl->key.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "the CA's certificate and private key do not belong together");
  }
  impl->pem = to_pem(impl->certificate.get());
  return std::unique_ptr<InternalCa>(new InternalCa(std::move(impl)));
}

Result<IdentityPtr> InternalCa::issue(std::string_view name, UnixTime now) const {
  const std::string checked(name);
  if (!parse_ip(checked) && !is_hostname_or_wildcard(checked)) {
    return fail(ErrorCode::kInvalid,
                "cannot issue a certificate for {}: neither a lower-case DNS name nor an IP address",
                quoted(name));
  }
  X509* root = impl_->certificate.get();
  if (has_ended(root, now)) {
    return fail(ErrorCode::kInvalid, "cannot issue a certificate for {}: the CA itself has expired", checked);
  }
  const PkeyPtr key = new_p256_key();
  const UnixTime from = now - kClockSkew;
  const X509Ptr certificate = new_certificate(key.get(), checked, from, from + kLeafLifetime);
  X509* leaf = certificate.get();
  CHECK(X509_set_issuer_name(leaf, X509_get_subject_name(root)) == 1);
  add_extension(leaf, root, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf, root, NID_key_usage, "critical,digitalSignature");
  add_extension(leaf, root, NID_ext_key_usage, "serverAuth");
  add_extension(leaf, root, NID_subject_key_identifier, "hash");
  add_extension(leaf, root, NID_authority_key_identifier, "keyid:always");
  add_extension(leaf, root, NID_subject_alt_name, alternative_name(checked));
  CHECK(X509_sign(leaf, impl_->key.get(), EVP_sha256()) > 0);
  return make_identity(leaf, key.get(), std::span(&root, 1), from + kLeafLifetime);
}

Result<std::string> InternalCa::issue(const CertificateRequest& request, UnixTime not_before,
                                      UnixTime not_after) const {
  X509* root = impl_->certificate.get();
  if (has_ended(root, not_before)) {
    return fail(ErrorCode::kInvalid, "cannot issue a certificate for {}: the CA itself has expired",
                request.names().front());
  }
  const uint8_t* at = request.public_key_der().data();
  const PkeyPtr key(d2i_PUBKEY(nullptr, &at, static_cast<long>(request.public_key_der().size())));
  CHECK(key);
  const X509Ptr certificate = new_certificate(key.get(), not_before, not_after);
  X509* leaf = certificate.get();
  if (has_ended(root, not_after)) CHECK(X509_set1_notAfter(leaf, X509_get0_notAfter(root)) == 1);
  CHECK(X509_set_issuer_name(leaf, X509_get_subject_name(root)) == 1);
  const bool is_rsa = EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA;
  std::string names = "critical";  // as there is no subject (RFC 5280, 4.2.1.6)
  for (const std::string& name : request.names()) names += ",DNS:" + name;
  add_extension(leaf, root, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf, root, NID_key_usage,
                is_rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
  add_extension(leaf, root, NID_ext_key_usage, "serverAuth");
  add_extension(leaf, root, NID_subject_key_identifier, "hash");
  add_extension(leaf, root, NID_authority_key_identifier, "keyid:always");
  add_extension(leaf, root, NID_subject_alt_name, names);
  CHECK(X509_sign(leaf, impl_->key.get(), EVP_sha256()) > 0);
  return to_pem(leaf);
}

Result<IdentityPtr> self_signed_identity(const SecretKey& key, std::string_view name, UnixTime now) {
  const std::string checked(name);
  if (!parse_ip(checked) && !is_hostname_or_wildcard(checked)) {
    return fail(ErrorCode::kInvalid,
                "cannot make a certificate for {}: neither a lower-case DNS name nor an IP address",
                quoted(name));
  }
  const ByteView seed = key.expose_seed();
  const PkeyPtr pkey(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  CHECK(pkey);
  const X509Ptr certificate = new_certificate(pkey.get(), checked, now - kClockSkew, now + kTenYears);
  X509* leaf = certificate.get();
  CHECK(X509_set_issuer_name(leaf, X509_get_subject_name(leaf)) == 1);
  add_extension(leaf, leaf, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf, leaf, NID_key_usage, "critical,digitalSignature");
  add_extension(leaf, leaf, NID_ext_key_usage, "serverAuth");
  add_extension(leaf, leaf, NID_subject_alt_name, alternative_name(checked));
  CHECK(X509_sign(leaf, pkey.get(), nullptr) > 0);
  return make_identity(leaf, pkey.get(), {}, now + kTenYears);
}

namespace {

// Critical, an OCTET STRING of the digest (RFC 8737, 3).
void add_acme_identifier(X509* certificate, const Sha256& digest) {
  constexpr uint8_t kOctetString = 4;
  Bytes value{kOctetString, static_cast<uint8_t>(digest.size())};
  value.insert(value.end(), digest.begin(), digest.end());
  ASN1_OBJECT* type = OBJ_txt2obj(kAcmeIdentifier, 1);
  ASN1_OCTET_STRING* content = ASN1_OCTET_STRING_new();
  CHECK(type && content && ASN1_OCTET_STRING_set(content, value.data(), static_cast<int>(value.size())) == 1);
  X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, type, 1, content);
  CHECK(extension && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
  ASN1_OCTET_STRING_free(content);
  ASN1_OBJECT_free(type);
}

}  // namespace

Result<IdentityPtr> acme_challenge_identity(std::string_view name, const Sha256& digest, UnixTime now) {
  const std::string checked(name);
  if (!is_hostname(checked)) {
    return fail(ErrorCode::kInvalid, "cannot make a challenge certificate for {}: it {}", quoted(name),
                hostname_fault(checked));
  }
  const PkeyPtr key = new_p256_key();
  const UnixTime until = now + kChallengeLifetime;
  const X509Ptr certificate = new_certificate(key.get(), checked, now - kClockSkew, until);
  X509* leaf = certificate.get();
  CHECK(X509_set_issuer_name(leaf, X509_get_subject_name(leaf)) == 1);
  add_extension(leaf, leaf, NID_subject_alt_name, alternative_name(checked));
  add_acme_identifier(leaf, digest);
  CHECK(X509_sign(leaf, key.get(), EVP_sha256()) > 0);
  return make_identity(leaf, key.get(), {}, until);
}

}  // namespace culvert::tls
