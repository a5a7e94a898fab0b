#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "quic/config.h"

namespace culvert::quic {

namespace core {
struct X509Identity;
}

// A certificate chain and its private key, which belong together and which the QUIC core can use. Copies
// share them; any thread may use them.
class X509Identity {
 public:
  // Both in DER: the leaf first; the key as PKCS#8, PKCS#1 or SEC1. kInvalid says what is wrong with them.
  static Result<X509Identity> from_der(const std::vector<Bytes>& chain, ByteView key);

  const core::X509Identity* core() const { return core_.get(); }

 private:
  explicit X509Identity(std::shared_ptr<const core::X509Identity> core) : core_(std::move(core)) {}

  std::shared_ptr<const core::X509Identity> core_;
};

// The identity to show to a client that asks for `server_name`, which is empty where it names none; nullopt
// refuses the client. Asked in every full handshake, on the endpoint's thread: it may answer something else
// each time, and must not wait.
using CertificateSource = std::function<std::optional<X509Identity>(std::string_view server_name)>;

// One application protocol of a server.
struct Protocol {
  std::string alpn;
  // Empty: both sides prove an Ed25519 key, as tunnels and iroh do. Otherwise the server shows a certificate.
  CertificateSource certificates = {};
  // With certificates: whether the client must prove an Ed25519 key all the same. HTTP/3 clients have none.
  bool needs_peer_key = false;
  Limits limits = {};
};

// A server that is dialled by name and shows an X.509 certificate.
struct X509Server {
  std::string name;          // DNS name or IP address
  std::vector<Bytes> roots;  // DER
  bool proves_key = false;   // whether this side proves its Ed25519 key
};

}  // namespace culvert::quic
