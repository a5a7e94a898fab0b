#pragma once
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/key.h"

// TLS 1.3 inside QUIC: GnuTLS with Ed25519 raw public keys on both sides (RFC 7250), the way iroh 1.x does
// it.
namespace culvert::quic {

// What a client remembers for a short handshake next time. Bounded; the oldest entry goes first.
class SessionCache {
 public:
  static constexpr size_t kMaxEntries = 256;

  void put(const EndpointId& peer, const std::string& alpn, Bytes session);
  const Bytes* find(const EndpointId& peer, const std::string& alpn) const;

 private:
  using Key = std::pair<EndpointId, std::string>;
  std::map<Key, std::pair<uint64_t, Bytes>> entries_;  // with the order of insertion
  uint64_t next_ = 0;
};

// One endpoint's key, accepted ALPNs and tickets. Shared by its connections, on one thread.
class TlsContext {
 public:
  TlsContext(const SecretKey& key, std::vector<std::string> accept_alpns);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;

  // Sessions for ngtcp2; `ref` must outlive them and lead to the connection. Never null.
  gnutls_session_t new_client(ngtcp2_crypto_conn_ref* ref, const EndpointId& peer, const std::string& alpn);
  gnutls_session_t new_server(ngtcp2_crypto_conn_ref* ref);

  SessionCache& sessions() { return sessions_; }
  bool accepts() const { return !accept_alpns_.empty(); }

 private:
  gnutls_session_t new_session(unsigned flags, ngtcp2_crypto_conn_ref* ref);

  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_datum_t ticket_key_{};
  std::vector<std::string> accept_alpns_;
  SessionCache sessions_;
};

// The key the peer proved, from a finished or resumed handshake; nullopt unless it is exactly one Ed25519 raw
// key.
std::optional<EndpointId> peer_key(gnutls_session_t session);
std::string negotiated_alpn(gnutls_session_t session);

// Called by the TLS code, on the object that `ngtcp2_crypto_conn_ref::user_data` points to.
class TlsEvents {
 public:
  virtual ~TlsEvents() = default;
  // The peer presented this key; false refuses it.
  virtual bool accept_peer(const EndpointId& key) = 0;
  // A session ticket arrived.
  virtual void on_session(Bytes session) = 0;
};

}  // namespace culvert::quic
