#include "dns/stream_framing.h"

#include "base/check.h"
#include "dns/message.h"

namespace culvert::dns {
namespace {

constexpr size_t kLengthSize = 2;

}  // namespace

void append_framed(ByteView message, Bytes& out) {
  CHECK(message.size() <= kMaxMessageSize);
  out.push_back(static_cast<uint8_t>(message.size() >> 8));
  out.push_back(static_cast<uint8_t>(message.size()));
  out.insert(out.end(), message.begin(), message.end());
}

Result<std::optional<Bytes>> FrameReader::next() {
  ByteReader reader(buffer_);
  const auto length = reader.u16();
  if (!length) return std::nullopt;
  if (*length < kHeaderSize)
    return fail(ErrorCode::kInvalid, "a DNS message of {} bytes (expected {} or more)", *length, kHeaderSize);
  if (*length > max_size_)
    return fail(ErrorCode::kLimit, "a DNS message of {} bytes (expected at most {})", *length, max_size_);
  const auto message = reader.take(*length);
  if (!message) return std::nullopt;
  Bytes taken = to_bytes(*message);
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(kLengthSize + taken.size()));
  return taken;
}

}  // namespace culvert::dns
