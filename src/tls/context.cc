#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "net/event_loop.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

// Read buffers exist only while a record is incomplete. Four full records a system call.
constexpr size_t kReadBuffer = 64 * 1024;

// The first of ours that the client offers (RFC 7301, 3.2).
int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                unsigned int offered_length, void*) {
  const auto* choice = static_cast<const ServerHandshake*>(SSL_get_app_data(ssl));
  if (!choice || choice->alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
  for (const std::string& protocol : choice->alpn) {
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

bool prepare(EVP_MAC_CTX* mac, TicketKeys::Key& key) {
  std::array<char, 7> digest{"SHA256"};
  std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1, the key is there; 2, and the ticket is to be replaced; 0, there
// is none, and the handshake is a full one; -1, it cannot go on.
int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
               int encrypts) {
  const auto* handshake = static_cast<const ServerHandshake*>(SSL_get_app_data(ssl));
  auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (!handshake) return 0;
  const TimePoint now = handshake->loop.now();
  if (encrypts != 0) {
    TicketKeys::Key key = keys->current(now, handshake->loop.random());
    std::ranges::copy(key.name, name);
    handshake->loop.random().fill({iv, static_cast<size_t>(EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()))});
    const bool done = prepare(mac, key) &&
                      EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) == 1;
    return done ? 1 : -1;
  }
  auto known = keys->find(std::span<const uint8_t, TicketKeys::kNameSize>(name, TicketKeys::kNameSize), now);
  if (!known) return 0;
  const bool done = prepare(mac, known->key) &&
                    EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, known->key.cipher.data(), iv) == 1;
  if (!done) return -1;
  // A client of TLS 1.3 shows each of its tickets once (RFC 8446, C.4).
  return known->is_current && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
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

// Not OpenSSL's finite fields: what a client asks for costs the server a hundred times as much there
// (CVE-2002-20001). The hybrid one comes with OpenSSL 3.5.
void set_groups(SSL_CTX* context) {
  constexpr const char* kHybrid = "X25519MLKEM768:X25519:P-256:P-384";
  constexpr const char* kClassical = "X25519:P-256:P-384";
  if (SSL_CTX_set1_groups_list(context, kHybrid) == 1) return;
  ERR_clear_error();
  CHECK(SSL_CTX_set1_groups_list(context, kClassical) == 1);
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
  set_groups(raw);
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
  auto tickets = std::make_unique<TicketKeys>();
  SSL_CTX_set_app_data(context.get(), tickets.get());
  CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(context.get(), ticket_key) == 1);
  return std::make_shared<const Identity>(std::move(context), std::move(tickets), not_after);
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
