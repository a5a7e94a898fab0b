#include <openssl/err.h>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

// Read buffers exist only while a record is incomplete. Four full records a system call.
constexpr size_t kReadBuffer = 64 * 1024;

// The first of ours that the client offers (RFC 7301, 3.2).
int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                unsigned int offered_length, void*) {
  const auto* choice = static_cast<const ServerAlpn*>(SSL_get_app_data(ssl));
  if (!choice || choice->ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  for (const std::string& protocol : choice->ours) {
    for (unsigned int at = 0; at < offered_length; at += 1u + offered[at]) {
      const std::string_view theirs(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
      if (theirs != protocol) continue;
      *out = offered + at + 1;
      *out_length = offered[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  if (choice->no_common == NoCommonAlpn::kRefuse) return SSL_TLSEXT_ERR_ALERT_FATAL;
  for (unsigned int at = 0; at < offered_length; at += 1u + offered[at]) {
    const std::string_view theirs(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
    if (theirs != "h2") return SSL_TLSEXT_ERR_NOACK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

template <class T>
Bytes der_of(int (*encode)(const T*, unsigned char**), const T* object) {
  unsigned char* data = nullptr;
  const int size = encode(object, &data);
  CHECK(size > 0);
  Bytes out(data, data + size);
  OPENSSL_clear_free(data, static_cast<size_t>(size));
  return out;
}

}  // namespace

std::string take_openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : fmt::format("OpenSSL error {:#x}", code);
}

SslCtxPtr make_tls_context(const SSL_METHOD* method) {
  SslCtxPtr context(SSL_CTX_new(method));
  CHECK(context);
  SSL_CTX* raw = context.get();
  CHECK(SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1);
  // TLS 1.2 with forward secrecy and AEAD only; the TLS 1.3 suites are OpenSSL's.
  CHECK(SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(
      raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_default_read_buffer_len(raw, kReadBuffer);
  // Servers resume from stateless tickets; a cache would only grow.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  return context;
}

Result<IdentityPtr> make_identity(X509* leaf, EVP_PKEY* key, std::span<X509* const> issuers,
                                  UnixTime not_after) {
  ERR_clear_error();
  SslCtxPtr context = make_tls_context(TLS_server_method());
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  if (SSL_CTX_use_certificate(context.get(), leaf) != 1 || SSL_CTX_use_PrivateKey(context.get(), key) != 1) {
    return fail(ErrorCode::kInvalid, "certificate cannot be served: {}", take_openssl_error());
  }
  for (X509* issuer : issuers) {
    if (SSL_CTX_add1_chain_cert(context.get(), issuer) != 1) {
      return fail(ErrorCode::kInvalid, "certificate cannot be served with its chain: {}",
                  take_openssl_error());
    }
  }
  return std::make_shared<const Identity>(std::move(context), not_after);
}

DerIdentity to_der(const Identity& identity) {
  SSL_CTX* context = identity.context();
  DerIdentity out{.chain = {der_of(i2d_X509, SSL_CTX_get0_certificate(context))},
                  .key = der_of(i2d_PrivateKey, SSL_CTX_get0_privatekey(context))};
  STACK_OF(X509)* issuers = nullptr;
  // NOLINTNEXTLINE(bugprone-multi-level-implicit-pointer-conversion): in a macro of OpenSSL's
  CHECK(SSL_CTX_get0_chain_certs(context, &issuers) == 1);
  for (int i = 0; i < sk_X509_num(issuers); ++i) {
    out.chain.push_back(der_of(i2d_X509, sk_X509_value(issuers, i)));
  }
  return out;
}

UnixTime not_after(const Identity& identity) { return identity.not_after(); }

Bytes alert_record(Alert alert) {
  constexpr uint8_t kAlertRecord = 21, kFatal = 2;
  return {kAlertRecord, 3, 3, 0, 2, kFatal, static_cast<uint8_t>(alert)};
}

}  // namespace culvert::tls
