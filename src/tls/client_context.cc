#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

bool is_over(const X509Ptr& certificate, UnixTime now) {
  time_t at = now.time_since_epoch().count();
  return X509_cmp_time(X509_get0_notAfter(certificate.get()), &at) < 0;
}

// As the extension has it (RFC 7301, 3.1): each name behind its length.
std::vector<uint8_t> alpn_wire(const std::vector<std::string>& names) {
  std::vector<uint8_t> wire;
  for (const std::string& name : names) {
    CHECK(!name.empty() && name.size() <= UINT8_MAX);
    wire.push_back(static_cast<uint8_t>(name.size()));
    wire.insert(wire.end(), name.begin(), name.end());
  }
  return wire;
}

void show(SSL_CTX* context, const Credentials& credentials) {
  // load_credentials() found that they belong together.
  CHECK(SSL_CTX_use_certificate(context, credentials.chain().front().get()) == 1);
  CHECK(SSL_CTX_use_PrivateKey(context, credentials.key()) == 1);
  for (size_t i = 1; i < credentials.chain().size(); ++i)
    CHECK(SSL_CTX_add1_chain_cert(context, credentials.chain()[i].get()) == 1);
}

}  // namespace

std::string time_text(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

Result<UnixTime> unix_time_of(const ASN1_TIME* time) {
  const std::unique_ptr<ASN1_TIME, OpenSslDelete<ASN1_TIME_free>> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) {
    return fail(ErrorCode::kInvalid, "the certificate has a date that cannot be read: {}",
                take_openssl_error());
  }
  return UnixTime(std::chrono::days(days) + std::chrono::seconds(seconds));
}

Result<std::vector<X509Ptr>> parse_certificates(const std::string& pem) {
  ERR_clear_error();
  const BioPtr bio = bio_over(pem);
  std::vector<X509Ptr> certificates;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr))
    certificates.emplace_back(certificate);
  // The end of the text is an error as well.
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    return fail(ErrorCode::kInvalid, "certificate {} cannot be read: {}", certificates.size() + 1,
                take_openssl_error());
  ERR_clear_error();
  if (certificates.empty()) return fail(ErrorCode::kInvalid, "there is no PEM certificate in it");
  return certificates;
}

Result<PkeyPtr> parse_private_key(const SecretString& pem) {
  ERR_clear_error();
  PkeyPtr key = read_private_key(pem);
  if (!key) return fail(ErrorCode::kInvalid, "is not an unencrypted PEM key: {}", take_openssl_error());
  return key;
}

Result<RootsPtr> load_roots(const std::string& pem, UnixTime now) {
  auto certificates = parse_certificates(pem);
  if (!certificates) return std::unexpected(certificates.error());
  if (std::ranges::all_of(*certificates, [now](const X509Ptr& each) { return is_over(each, now); })) {
    return fail(ErrorCode::kInvalid, "{} expired, the last on {}",
                certificates->size() == 1 ? "its certificate has" : "all its certificates have",
                time_text(X509_get0_notAfter(certificates->back().get())));
  }
  X509StorePtr store(X509_STORE_new());
  CHECK(store);
  for (const X509Ptr& each : *certificates) CHECK(X509_STORE_add_cert(store.get(), each.get()) == 1);
  return std::make_shared<const Roots>(std::move(store));
}

Result<CredentialsPtr> load_credentials(const std::string& chain_pem, const SecretString& key_pem,
                                        UnixTime now) {
  auto chain = parse_certificates(chain_pem);
  if (!chain) return fail(ErrorCode::kInvalid, "the certificate: {}", chain.error().message);
  auto key = parse_private_key(key_pem);
  if (!key) return fail(ErrorCode::kInvalid, "the private key {}", key.error().message);
  if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "the certificate and the private key do not belong together");
  }
  if (is_over(chain->front(), now)) {
    return fail(ErrorCode::kInvalid, "the certificate has expired on {}",
                time_text(X509_get0_notAfter(chain->front().get())));
  }
  return std::make_shared<const Credentials>(std::move(*chain), std::move(*key));
}

ClientContextPtr make_client_context(const ClientOptions& options) {
  ERR_clear_error();
  SslCtxPtr context = make_tls_context(TLS_client_method());
  SSL_CTX* raw = context.get();
  if (options.roots) {
    SSL_CTX_set1_cert_store(raw, options.roots->store());
  } else if (!options.is_insecure) {
    add_system_roots(SSL_CTX_get_cert_store(raw));
  }
  if (options.credentials) show(raw, *options.credentials);
  const std::vector<uint8_t> alpn = alpn_wire(options.alpn);
  if (!alpn.empty())
    CHECK(SSL_CTX_set_alpn_protos(raw, alpn.data(), static_cast<unsigned>(alpn.size())) == 0);
  if (options.takes_unclean_end) SSL_CTX_set_options(raw, SSL_OP_IGNORE_UNEXPECTED_EOF);
  return std::make_shared<const ClientContext>(std::move(context), options.is_insecure);
}

}  // namespace culvert::tls
