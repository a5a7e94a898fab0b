#include "quic/tls.h"

#include <gnutls/abstract.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/crypto.h"

namespace culvert::quic {
namespace {

// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
constexpr std::array<uint8_t, 12> kSpkiPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
// PKCS#8 of an Ed25519 seed up to the seed itself (RFC 8410, 7).
constexpr std::array<uint8_t, 16> kPkcs8Prefix = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                                  0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

// AES-128 first: with hardware AES it is ten times ChaCha20 in GnuTLS. Only what iroh speaks is offered.
constexpr const char* kPriority =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-GROUP-ALL:+"
    "GROUP-X25519:"
    "+GROUP-SECP256R1:-SIGN-ALL:+SIGN-EDDSA-ED25519:-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK:"
    "%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE";

TlsEvents& events_of(gnutls_session_t session) {
  auto* ref = static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session));
  return *static_cast<TlsEvents*>(ref->user_data);
}

int verify_peer(gnutls_session_t session) {
  std::optional<EndpointId> key = peer_key(session);
  if (!key) return GNUTLS_E_CERTIFICATE_ERROR;
  return events_of(session).accept_peer(*key) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

int on_ticket(gnutls_session_t session, unsigned, unsigned when, unsigned, const gnutls_datum_t*) {
  if (when != GNUTLS_HOOK_POST) return 0;
  gnutls_datum_t data{};
  if (gnutls_session_get_data2(session, &data) != 0)
    return 0;  // no ticket is only a longer handshake next time
  events_of(session).on_session(Bytes(data.data, data.data + data.size));
  gnutls_free(data.data);
  return 0;
}

gnutls_datum_t datum(ByteView view) {
  return {const_cast<uint8_t*>(view.data()), static_cast<unsigned>(view.size())};
}

void set_alpns(gnutls_session_t session, const std::vector<std::string>& alpns) {
  std::vector<gnutls_datum_t> list;
  for (const std::string& alpn : alpns) list.push_back(datum(as_bytes(alpn)));
  CHECK(gnutls_alpn_set_protocols(session, list.data(), static_cast<unsigned>(list.size()),
                                  GNUTLS_ALPN_MANDATORY) == 0);
}

}  // namespace

void SessionCache::put(const EndpointId& peer, const std::string& alpn, Bytes session) {
  entries_.insert_or_assign(Key(peer, alpn), std::pair(next_++, std::move(session)));
  if (entries_.size() <= kMaxEntries) return;
  entries_.erase(
      std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.first; }));
}

const Bytes* SessionCache::find(const EndpointId& peer, const std::string& alpn) const {
  auto found = entries_.find(Key(peer, alpn));
  return found == entries_.end() ? nullptr : &found->second.second;
}

TlsContext::TlsContext(const SecretKey& key, std::vector<std::string> accept_alpns)
    : accept_alpns_(std::move(accept_alpns)) {
  Bytes spki(kSpkiPrefix.begin(), kSpkiPrefix.end());
  spki.insert(spki.end(), key.public_key().bytes().begin(), key.public_key().bytes().end());
  Bytes pkcs8(kPkcs8Prefix.begin(), kPkcs8Prefix.end());
  pkcs8.insert(pkcs8.end(), key.expose_seed().begin(), key.expose_seed().end());

  CHECK(gnutls_certificate_allocate_credentials(&credentials_) == 0);
  gnutls_datum_t public_part = datum(spki);
  gnutls_datum_t private_part = datum(pkcs8);
  // Without a key of our own GnuTLS leaves out client_certificate_type, and iroh refuses.
  CHECK(gnutls_certificate_set_rawpk_key_mem(credentials_, &public_part, &private_part, GNUTLS_X509_FMT_DER,
                                             nullptr, 0, nullptr, 0, 0) >= 0);
  wipe(pkcs8);
  gnutls_certificate_set_verify_function(credentials_, verify_peer);
  CHECK(gnutls_session_ticket_key_generate(&ticket_key_) == 0);
}

TlsContext::~TlsContext() {
  gnutls_certificate_free_credentials(credentials_);
  wipe({ticket_key_.data, ticket_key_.size});
  gnutls_free(ticket_key_.data);
}

gnutls_session_t TlsContext::new_session(unsigned flags, ngtcp2_crypto_conn_ref* ref) {
  gnutls_session_t session = nullptr;
  CHECK(gnutls_init(&session, flags | GNUTLS_ENABLE_RAWPK | GNUTLS_NO_END_OF_EARLY_DATA) == 0);
  CHECK(gnutls_priority_set_direct(session, kPriority, nullptr) == 0);
  CHECK(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials_) == 0);
  gnutls_session_set_ptr(session, ref);
  return session;
}

gnutls_session_t TlsContext::new_client(ngtcp2_crypto_conn_ref* ref, const EndpointId& peer,
                                        const std::string& alpn) {
  gnutls_session_t session = new_session(GNUTLS_CLIENT, ref);
  CHECK(ngtcp2_crypto_gnutls_configure_client_session(session) == 0);
  set_alpns(session, {alpn});
  gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET, GNUTLS_HOOK_POST,
                                     on_ticket);
  // A stale or foreign session only means a full handshake.
  if (const Bytes* known = sessions_.find(peer, alpn))
    gnutls_session_set_data(session, known->data(), known->size());
  return session;
}

gnutls_session_t TlsContext::new_server(ngtcp2_crypto_conn_ref* ref) {
  gnutls_session_t session = new_session(GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET, ref);
  CHECK(ngtcp2_crypto_gnutls_configure_server_session(session) == 0);
  gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
  CHECK(gnutls_session_ticket_enable_server(session, &ticket_key_) == 0);
  set_alpns(session, accept_alpns_);
  return session;
}

std::optional<EndpointId> peer_key(gnutls_session_t session) {
  if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_RAWPK) return std::nullopt;
  unsigned count = 0;
  const gnutls_datum_t* list = gnutls_certificate_get_peers(session, &count);
  if (list == nullptr || count != 1) return std::nullopt;
  ByteView spki(list[0].data, list[0].size);
  if (spki.size() != kSpkiPrefix.size() + PublicKey::kSize) return std::nullopt;
  if (!std::ranges::equal(spki.first(kSpkiPrefix.size()), kSpkiPrefix)) return std::nullopt;
  Result<PublicKey> key = PublicKey::from_bytes(spki.subspan(kSpkiPrefix.size()));
  if (!key) return std::nullopt;
  return *key;
}

std::string negotiated_alpn(gnutls_session_t session) {
  gnutls_datum_t alpn{};
  if (gnutls_alpn_get_selected_protocol(session, &alpn) != 0) return {};
  return std::string(as_text({alpn.data, alpn.size}));
}

}  // namespace culvert::quic
