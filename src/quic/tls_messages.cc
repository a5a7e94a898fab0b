#include "quic/tls_messages.h"

#include <algorithm>

namespace culvert::quic {

bool TlsMessageReader::is_allowed(ngtcp2_encryption_level level, TlsMessageType type) const {
  using enum TlsMessageType;
  if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT) return !from_client_ && type == kNewSessionTicket;
  if (finished_) return false;
  if (level == NGTCP2_ENCRYPTION_LEVEL_INITIAL) return type == (from_client_ ? kClientHello : kServerHello);
  switch (type) {
    case kCertificate:
    case kCertificateVerify:
    case kFinished:
      return true;
    case kEncryptedExtensions:
    case kCertificateRequest:
      return !from_client_;
    default:
      return false;
  }
}

std::expected<TlsMessageReader::Part, uint8_t> TlsMessageReader::next(ngtcp2_encryption_level level,
                                                                      ByteView& data) {
  Message& message = messages_[level];
  if (message.header_read == 0 && !is_allowed(level, TlsMessageType{data[0]}))
    return std::unexpected(kAlertUnexpectedMessage);

  const size_t header_size = std::min(kHeaderSize - message.header_read, data.size());
  std::ranges::copy(data.first(header_size),
                    message.header.begin() + static_cast<std::ptrdiff_t>(message.header_read));
  message.header_read += header_size;
  if (header_size > 0 && message.header_read == kHeaderSize) {
    message.body_left = size_t{message.header[1]} << 16 | size_t{message.header[2]} << 8 | message.header[3];
    if (message.body_left > kMaxMessage - kHeaderSize) return std::unexpected(kAlertIllegalParameter);
  }
  const size_t body_size = std::min(message.body_left, data.size() - header_size);
  message.body_left -= body_size;

  Part part{data.first(header_size + body_size), TlsMessageType{message.header[0]}, false};
  data = data.subspan(part.data.size());
  if (message.header_read == kHeaderSize && message.body_left == 0) {
    part.is_last = true;
    finished_ |= part.type == TlsMessageType::kFinished;
    message = {};
  }
  return part;
}

}  // namespace culvert::quic
