#pragma once
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/key.h"

// Tests only: the least of TLS 1.3 (RFC 8446) that completes a QUIC handshake: TLS_AES_128_GCM_SHA256,
// X25519, Ed25519 raw public keys on both sides (RFC 7250), no resumption. It verifies nothing about its
// peer. Independent of the QUIC core and its TLS library.
namespace culvert::sim::tls {

// RFC 8446, 4.
enum MessageType : uint8_t {
  kClientHello = 1,
  kServerHello = 2,
  kNewSessionTicket = 4,
  kEncryptedExtensions = 8,
  kCertificate = 11,
  kCertificateRequest = 13,
  kCertificateVerify = 15,
  kFinished = 20,
  kKeyUpdate = 24,
  kMessageHash = 254,
};

enum ExtensionType : uint16_t {
  kSupportedGroups = 0x000a,
  kSignatureAlgorithms = 0x000d,
  kAlpn = 0x0010,
  kClientCertificateType = 0x0013,
  kServerCertificateType = 0x0014,
  kSupportedVersions = 0x002b,
  kKeyShare = 0x0033,
  kQuicTransportParameters = 0x0039,
};

struct Extension {
  uint16_t type;
  Bytes data;
};
using Extensions = std::vector<Extension>;
void remove(Extensions& extensions, uint16_t type);
Extension* find(Extensions& extensions, uint16_t type);

// A message with its header: type and 24-bit length.
Bytes message(uint8_t type, ByteView body);
// The first complete message of `data`, which is advanced past it; nullopt: incomplete.
std::optional<Bytes> next_message(ByteView& data);

// Message bodies in order of their use. `session_id` is the client's, echoed by the server.
Bytes client_hello(ByteView random, const Extensions& extensions);
Bytes server_hello(ByteView random, ByteView session_id, const Extensions& extensions);
Bytes encrypted_extensions(const Extensions& extensions);
Bytes certificate_request(const Extensions& extensions);
Bytes certificate(const PublicKey& key);  // a raw public key
Bytes certificate_verify(const SecretKey& key, bool by_server, ByteView transcript_hash);
Bytes new_session_ticket(ByteView ticket);

Bytes alpn_data(const std::string& protocol);
Extensions client_extensions(const std::string& alpn, ByteView key_share, ByteView transport_parameters);
Extensions server_hello_extensions(ByteView key_share);
Extensions encrypted_extensions_of(const std::string& alpn, ByteView transport_parameters);
Extensions certificate_request_extensions();

// What the peer's hello says; nullopt: it is malformed or has no X25519 share.
struct Hello {
  Bytes session_id;
  Bytes key_share;
};
std::optional<Hello> parse_client_hello(ByteView message);
std::optional<Hello> parse_server_hello(ByteView message);

class KeyExchange {
 public:
  explicit KeyExchange(Random& random);
  const Bytes& public_key() const { return public_key_; }
  // Empty: the share is not acceptable.
  Bytes shared_secret(ByteView peer_share) const;

 private:
  Bytes private_key_;
  Bytes public_key_;
};

// Transcript and key schedule (RFC 8446, 4.4.1 and 7.1).
class Schedule {
 public:
  void add(ByteView message) { transcript_.insert(transcript_.end(), message.begin(), message.end()); }
  Bytes transcript_hash() const;
  // After ServerHello.
  void derive_handshake(ByteView shared_secret);
  // After the server's Finished.
  void derive_application();
  Bytes finished(bool by_server) const;

  const Bytes& handshake_secret(bool of_server) const { return handshake_[of_server ? 1 : 0]; }
  const Bytes& application_secret(bool of_server) const { return application_[of_server ? 1 : 0]; }

 private:
  Bytes transcript_;
  Bytes secret_;  // the current one of the schedule
  std::array<Bytes, 2> handshake_;
  std::array<Bytes, 2> application_;
};

}  // namespace culvert::sim::tls
