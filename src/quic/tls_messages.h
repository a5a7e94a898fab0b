#pragma once
#include <ngtcp2/ngtcp2.h>

#include <array>
#include <expected>

#include "base/bytes.h"

namespace culvert::quic {

// TLS alerts (RFC 8446, 6).
constexpr uint8_t kAlertUnexpectedMessage = 10;
constexpr uint8_t kAlertBadCertificate = 42;
constexpr uint8_t kAlertIllegalParameter = 47;
constexpr uint8_t kAlertMissingExtension = 109;
constexpr uint8_t kAlertNoApplicationProtocol = 120;

// HandshakeType (RFC 8446, 4).
enum class TlsMessageType : uint8_t {
  kClientHello = 1,
  kServerHello = 2,
  kNewSessionTicket = 4,
  kEncryptedExtensions = 8,
  kCertificate = 11,
  kCertificateRequest = 13,
  kCertificateVerify = 15,
  kFinished = 20,
};

// Follows the TLS messages that a peer sends in CRYPTO frames, before the TLS library sees them. GnuTLS
// accepts messages that QUIC forbids, and ngtcp2 asserts on what they lead to: KeyUpdate ends in the
// installation of keys that are installed already. It also buffers a message up to the 16 MiB that its length
// may promise, from a client that proved nothing. The order of the allowed messages is left to GnuTLS.
class TlsMessageReader {
 public:
  explicit TlsMessageReader(bool from_client) : from_client_(from_client) {}

  // With its header. A hello with a post-quantum key share is below 2 KiB, raw public keys and tickets are
  // smaller.
  static constexpr size_t kMaxMessage = 16 * 1024;

  struct Part {
    ByteView data;
    TlsMessageType type;
    bool is_last;  // the message ends here
  };
  // Cuts the bytes of one message off `data`, which is not empty and continues the stream of its level.
  // Otherwise the alert: a message of this type must not come now, or it is too large.
  std::expected<Part, uint8_t> next(ngtcp2_encryption_level level, ByteView& data);

 private:
  static constexpr size_t kHeaderSize = 4;  // type and 24-bit length

  // The message under way.
  struct Message {
    std::array<uint8_t, kHeaderSize> header{};
    size_t header_read = 0;
    size_t body_left = 0;
  };

  bool is_allowed(ngtcp2_encryption_level level, TlsMessageType type) const;

  bool from_client_;
  bool finished_ = false;
  std::array<Message, NGTCP2_ENCRYPTION_LEVEL_0RTT + 1> messages_{};
};

}  // namespace culvert::quic
