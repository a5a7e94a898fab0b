#include "sim/hostile_packets.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/check.h"
#include "base/crypto.h"
#include "sim/hostile_frames.h"

namespace culvert::sim {
namespace {

constexpr uint32_t kVersion1 = 1;
constexpr size_t kTagSize = 16;
constexpr size_t kNumberSize = 4;  // of what is sent

// RFC 9001, 5.2.
constexpr std::array<uint8_t, 20> kInitialSalt = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                                  0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};

// Beyond the levels of packets (RFC 9000, 17.2).
constexpr uint8_t kRetryType = 3;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
CipherContext new_context() { return {EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free}; }

Bytes nonce(const PacketKeys& keys, uint32_t path, uint64_t number) {
  Bytes out = keys.iv;
  for (size_t i = 0; i < 4; ++i) out[i] ^= static_cast<uint8_t>(path >> (24 - 8 * i));
  for (size_t i = 0; i < 8; ++i) out[out.size() - 1 - i] ^= static_cast<uint8_t>(number >> (8 * i));
  return out;
}

Bytes aead_seal(const PacketKeys& keys, uint32_t path, uint64_t number, ByteView header, ByteView plain) {
  CipherContext context = new_context();
  const Bytes iv = nonce(keys, path, number);
  Bytes out(plain.size() + kTagSize);
  int size = 0;
  CHECK(EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, keys.key.data(), iv.data()) == 1);
  CHECK(EVP_EncryptUpdate(context.get(), nullptr, &size, header.data(), static_cast<int>(header.size())) ==
        1);
  CHECK(EVP_EncryptUpdate(context.get(), out.data(), &size, plain.data(), static_cast<int>(plain.size())) ==
        1);
  CHECK(EVP_EncryptFinal_ex(context.get(), out.data() + size, &size) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagSize, out.data() + plain.size()) == 1);
  return out;
}

std::optional<Bytes> aead_open(const PacketKeys& keys, uint32_t path, uint64_t number, ByteView header,
                               ByteView sealed) {
  CipherContext context = new_context();
  const Bytes iv = nonce(keys, path, number);
  Bytes tag = to_bytes(sealed.last(kTagSize));
  Bytes out(sealed.size() - kTagSize);
  int size = 0;
  CHECK(EVP_DecryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, keys.key.data(), iv.data()) == 1);
  CHECK(EVP_DecryptUpdate(context.get(), nullptr, &size, header.data(), static_cast<int>(header.size())) ==
        1);
  CHECK(EVP_DecryptUpdate(context.get(), out.data(), &size, sealed.data(), static_cast<int>(out.size())) ==
        1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagSize, tag.data()) == 1);
  if (EVP_DecryptFinal_ex(context.get(), out.data() + size, &size) != 1) return std::nullopt;
  return out;
}

// RFC 9001, 5.4.3.
std::array<uint8_t, 16> header_mask(const PacketKeys& keys, ByteView sample) {
  CipherContext context = new_context();
  std::array<uint8_t, 16> mask{};
  int size = 0;
  CHECK(EVP_EncryptInit_ex(context.get(), EVP_aes_128_ecb(), nullptr, keys.header_key.data(), nullptr) == 1);
  CHECK(EVP_EncryptUpdate(context.get(), mask.data(), &size, sample.data(), 16) == 1);
  return mask;
}

uint8_t protected_bits(uint8_t first_byte) { return (first_byte & 0x80) != 0 ? 0x0f : 0x1f; }

Bytes header_bytes(const PacketHeader& header, size_t payload_size) {
  ByteWriter writer;
  if (header.level == Level::kOneRtt) {
    writer.u8(static_cast<uint8_t>(0x40 | (header.key_phase ? 4 : 0) | (kNumberSize - 1)));
    writer.bytes(header.destination);
  } else {
    const unsigned type = static_cast<unsigned>(header.level);
    writer.u8(static_cast<uint8_t>(0xc0u | type << 4 | (kNumberSize - 1)));
    writer.u32(kVersion1);
    writer.u8(static_cast<uint8_t>(header.destination.size()));
    writer.bytes(header.destination);
    writer.u8(static_cast<uint8_t>(header.source.size()));
    writer.bytes(header.source);
    if (header.level == Level::kInitial) {
      writer.bytes(varint(header.token.size()));
      writer.bytes(header.token);
    }
    writer.bytes(varint(kNumberSize + payload_size + kTagSize, 2));
  }
  writer.u32(static_cast<uint32_t>(header.number));
  return writer.take();
}

// RFC 9000, A.3.
uint64_t full_number(uint64_t truncated, size_t size, uint64_t expected) {
  const uint64_t window = uint64_t{1} << (8 * size);
  const uint64_t candidate = (expected & ~(window - 1)) | truncated;
  if (candidate + window / 2 <= expected) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}

}  // namespace

Bytes hkdf_extract(ByteView salt, ByteView key) {
  const Sha256 out = hmac_sha256(salt, key);
  return {out.begin(), out.end()};
}

Bytes hkdf_expand_label(ByteView secret, std::string_view label, ByteView context, size_t size) {
  CHECK(size <= 32);  // one block
  ByteWriter info;
  info.u16(static_cast<uint16_t>(size));
  info.u8(static_cast<uint8_t>(6 + label.size()));
  info.bytes(as_bytes("tls13 "));
  info.bytes(as_bytes(label));
  info.u8(static_cast<uint8_t>(context.size()));
  info.bytes(context);
  info.u8(1);
  const Sha256 block = hmac_sha256(secret, info.view());
  return {block.begin(), block.begin() + static_cast<std::ptrdiff_t>(size)};
}

PacketKeys PacketKeys::from_secret(ByteView secret) {
  return {.secret = to_bytes(secret),
          .key = hkdf_expand_label(secret, "quic key", {}, 16),
          .iv = hkdf_expand_label(secret, "quic iv", {}, 12),
          .header_key = hkdf_expand_label(secret, "quic hp", {}, 16)};
}

PacketKeys PacketKeys::next() const {
  PacketKeys out = from_secret(hkdf_expand_label(secret, "quic ku", {}, 32));
  out.header_key = header_key;
  return out;
}

InitialKeys initial_keys(ByteView id) {
  const Bytes secret = hkdf_extract(kInitialSalt, id);
  return {PacketKeys::from_secret(hkdf_expand_label(secret, "client in", {}, 32)),
          PacketKeys::from_secret(hkdf_expand_label(secret, "server in", {}, 32))};
}

Bytes seal(const PacketHeader& header, ByteView payload, const PacketKeys& keys) {
  // The sample for header protection needs 16 bytes behind a number of four: the tag alone suffices.
  Bytes packet = header_bytes(header, payload.size());
  const size_t number_offset = packet.size() - kNumberSize;
  const Bytes sealed = aead_seal(keys, header.path, header.number, packet, payload);
  packet.insert(packet.end(), sealed.begin(), sealed.end());
  const auto mask = header_mask(keys, ByteView(packet).subspan(number_offset + 4, 16));
  packet[0] = static_cast<uint8_t>(packet[0] ^ (mask[0] & protected_bits(packet[0])));
  for (size_t i = 0; i < kNumberSize; ++i) packet[number_offset + i] ^= mask[1 + i];
  return packet;
}

Bytes retry_packet(ByteView destination, ByteView source, ByteView original_destination, ByteView token) {
  const PacketKeys keys{
      .secret = {},
      .key = {0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e},
      .iv = {0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb},
      .header_key = {}};
  ByteWriter writer;
  writer.u8(0xf0);
  writer.u32(kVersion1);
  for (ByteView id : {destination, source}) {
    writer.u8(static_cast<uint8_t>(id.size()));
    writer.bytes(id);
  }
  writer.bytes(token);
  const Bytes packet = writer.take();
  const uint8_t original_size = static_cast<uint8_t>(original_destination.size());
  const Bytes pseudo = concat({ByteView(&original_size, 1), original_destination, packet});
  return concat({packet, aead_seal(keys, 0, 0, pseudo, {})});
}

std::optional<ProtectedPacket> next_packet(ByteView& datagram, size_t own_id_size) {
  if (datagram.empty()) return std::nullopt;
  const ByteView start = datagram;
  ByteReader reader(start);
  auto finish = [&](ProtectedPacket packet, size_t size) {
    packet.bytes = start.first(size);
    datagram = start.subspan(size);
    return packet;
  };
  const uint8_t first = *reader.u8();
  if ((first & 0x80) == 0) {
    auto id = reader.take(own_id_size);
    if (!id) return std::nullopt;
    return finish({Level::kOneRtt, false, to_bytes(*id), {}, {}, {}, 1 + own_id_size}, start.size());
  }
  auto version = reader.u32();
  auto destination_size = reader.u8();
  auto destination = reader.take(destination_size.value_or(0));
  auto source_size = reader.u8();
  auto source = reader.take(source_size.value_or(0));
  if (version != kVersion1 || !destination || !source) return std::nullopt;
  const uint8_t type = first >> 4 & 3;
  ProtectedPacket packet{
      Level::kInitial, type == kRetryType, to_bytes(*destination), to_bytes(*source), {}, {}, 0};
  if (packet.is_retry) {
    if (reader.rest().size() < kTagSize) return std::nullopt;
    packet.token = to_bytes(reader.rest().first(reader.rest().size() - kTagSize));
    return finish(std::move(packet), start.size());
  }
  packet.level = static_cast<Level>(type);
  if (packet.level == Level::kInitial) {
    auto token_size = read_varint(reader);
    auto token = reader.take(static_cast<size_t>(token_size.value_or(0)));
    if (!token_size || !token) return std::nullopt;
    packet.token = to_bytes(*token);
  }
  auto length = read_varint(reader);
  packet.number_offset = start.size() - reader.rest().size();
  if (!length || !reader.take(static_cast<size_t>(*length))) return std::nullopt;
  const size_t size = packet.number_offset + static_cast<size_t>(*length);
  return finish(std::move(packet), size);
}

std::optional<OpenedPacket> open(const ProtectedPacket& packet, const PacketKeys& keys, bool phase,
                                 const PacketKeys* other_phase, uint64_t expected, uint32_t path) {
  if (packet.bytes.size() < packet.number_offset + 4 + 16) return std::nullopt;
  const auto mask = header_mask(keys, packet.bytes.subspan(packet.number_offset + 4, 16));
  Bytes header = to_bytes(packet.bytes.first(packet.number_offset + 4));
  header[0] = static_cast<uint8_t>(header[0] ^ (mask[0] & protected_bits(header[0])));
  const size_t number_size = 1 + (header[0] & 3);
  uint64_t truncated = 0;
  for (size_t i = 0; i < number_size; ++i) {
    header[packet.number_offset + i] ^= mask[1 + i];
    truncated = truncated << 8 | header[packet.number_offset + i];
  }
  header.resize(packet.number_offset + number_size);
  OpenedPacket out{full_number(truncated, number_size, expected), (header[0] & 4) != 0, {}};
  const bool is_other = packet.level == Level::kOneRtt && out.key_phase != phase;
  if (is_other && other_phase == nullptr) return std::nullopt;
  auto payload = aead_open(is_other ? *other_phase : keys, path, out.number, header,
                           packet.bytes.subspan(header.size()));
  if (!payload) return std::nullopt;
  out.payload = std::move(*payload);
  return out;
}

}  // namespace culvert::sim
