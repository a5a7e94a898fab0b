#include "wire/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/host_port.h"

// Section numbers are those of HAProxy's doc/proxy-protocol.txt.
namespace culvert::wire {
namespace {

// 2.2: chosen so that no other protocol starts like it.
constexpr std::array<uint8_t, 12> kSignature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr size_t kFixedPart = 16;  // signature, version and command, family and transport, length

constexpr uint8_t kVersion = 0x2;
constexpr uint8_t kCommandLocal = 0x0;
constexpr uint8_t kCommandProxy = 0x1;

constexpr uint8_t kFamilyUnspec = 0x0;
constexpr uint8_t kFamilyInet = 0x1;
constexpr uint8_t kFamilyInet6 = 0x2;
constexpr uint8_t kFamilyUnix = 0x3;

constexpr size_t kUnixPaths = 216;  // two of 108 bytes
constexpr size_t kCrcSize = 4;

// CRC-32c (Castagnoli, RFC 4960 appendix B), reflected.
constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}();

uint32_t crc32c_update(uint32_t crc, ByteView bytes) {
  for (uint8_t byte : bytes) crc = crc >> 8 ^ kCrcTable[(crc ^ byte) & 0xff];
  return crc;
}

// Of the whole header with the checksum's own value counted as zeros (2.2.4).
uint32_t header_checksum(ByteView header, size_t crc_at) {
  constexpr std::array<uint8_t, kCrcSize> kZeros{};
  uint32_t crc = crc32c_update(~0u, header.first(crc_at));
  crc = crc32c_update(crc, kZeros);
  return ~crc32c_update(crc, header.subspan(crc_at + kCrcSize));
}

std::unexpected<Error> invalid(const char* what) {
  return fail(ErrorCode::kInvalid, "PROXY header: {}", what);
}

void write_ip(ByteWriter& out, const SocketAddr& address, bool as_v6) {
  if (as_v6 && address.is_v4()) {
    constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    out.bytes(kMapped);
  }
  out.bytes(address.ip());
}

template <size_t kSize>
std::optional<std::array<uint8_t, kSize>> read_array(ByteReader& in) {
  auto bytes = in.take(kSize);
  if (!bytes) return std::nullopt;
  std::array<uint8_t, kSize> out;
  std::ranges::copy(*bytes, out.begin());
  return out;
}

template <size_t kIpSize>
bool read_addresses(ByteReader& in, ProxyHeader& header) {
  auto source = read_array<kIpSize>(in);
  auto destination = read_array<kIpSize>(in);
  auto source_port = in.u16();
  auto destination_port = in.u16();
  if (!source || !destination || !source_port || !destination_port) return false;
  if constexpr (kIpSize == 4) {
    header.source = SocketAddr::v4(*source, *source_port);
    header.destination = SocketAddr::v4(*destination, *destination_port);
  } else {
    header.source = SocketAddr::v6(*source, *source_port);
    header.destination = SocketAddr::v6(*destination, *destination_port);
  }
  return true;
}

// `whole` is the header, `in` what follows its addresses.
Result<> read_tlvs(ByteView whole, ByteReader in, ProxyHeader& header) {
  bool checked = false;
  while (!in.empty()) {
    auto type = in.u8();
    auto length = in.u16();
    auto value = length ? in.take(*length) : std::nullopt;
    if (!type || !value) return invalid("a TLV is longer than the header");
    if (*type != kProxyTlvCrc32c) {
      header.tlvs.push_back({*type, to_bytes(*value)});
      continue;
    }
    if (value->size() != kCrcSize) return invalid("a CRC-32c that is not 4 bytes long");
    if (std::exchange(checked, true)) return invalid("two checksums");
    const size_t crc_at = whole.size() - in.rest().size() - kCrcSize;
    if (ByteReader(*value).u32() != header_checksum(whole, crc_at)) return invalid("wrong CRC-32c");
  }
  return {};
}

// 2.1: one space between the words, no other white space.
std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t space = line.find(' ');
    words.push_back(line.substr(0, space));
    if (space == std::string_view::npos) return words;
    line.remove_prefix(space + 1);
  }
}

std::optional<SocketAddr> read_v1_address(std::string_view ip, std::string_view port, bool is_v4) {
  // Zero is a port here, and leading zeros are not (2.1).
  const auto number = port == "0" ? std::optional<uint16_t>(0) : parse_port(port);
  if (!number || (port.size() > 1 && port.front() == '0')) return std::nullopt;
  const bool looks_v4 = !ip.contains(':');
  return looks_v4 == is_v4 ? parse_ip(ip, *number) : std::nullopt;
}

constexpr std::string_view kV1Begin = "PROXY ";

// Version 1 (2.1): PROXY TCP4|TCP6 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT, or PROXY UNKNOWN and
// anything, and CR LF.
Result<std::optional<DecodedProxy>> decode_proxy_v1(ByteView bytes) {
  const std::string_view text = as_text(bytes.first(std::min(bytes.size(), kMaxProxyV1Header)));
  const size_t known = std::min(text.size(), kV1Begin.size());
  if (text.substr(0, known) != kV1Begin.substr(0, known)) return invalid("of no version that is known");
  const size_t end = text.find("\r\n");
  if (end == std::string_view::npos) {
    if (text.size() == kMaxProxyV1Header) return invalid("the line of version 1 is too long");
    return std::nullopt;
  }
  DecodedProxy out{.header = {}, .consumed = end + 2};
  const auto words = words_of(text.substr(kV1Begin.size(), end - std::min(end, kV1Begin.size())));
  if (words.front() == "UNKNOWN") {
    out.header.local = true;
    return out;
  }
  const bool is_v4 = words.front() == "TCP4";
  if (!is_v4 && words.front() != "TCP6") return invalid("an unknown protocol in the line of version 1");
  constexpr size_t kWords = 5;
  if (words.size() != kWords) return invalid("the line of version 1 does not have its five words");
  const auto source = read_v1_address(words[1], words[3], is_v4);
  const auto destination = read_v1_address(words[2], words[4], is_v4);
  if (!source || !destination) return invalid("a wrong address in the line of version 1");
  out.header.source = *source;
  out.header.destination = *destination;
  return out;
}

}  // namespace

const ProxyTlv* ProxyHeader::find(uint8_t type) const {
  auto found = std::ranges::find(tlvs, type, &ProxyTlv::type);
  return found == tlvs.end() ? nullptr : &*found;
}

Result<Bytes> encode_proxy_v2(const ProxyHeader& header, ProxyTransport transport) {
  ByteWriter out;
  out.bytes(kSignature);
  if (header.local) {
    // 2.2: receivers discard all that a LOCAL header carries, so it carries nothing.
    out.u8(kVersion << 4 | kCommandLocal);
    out.u8(kFamilyUnspec << 4);
    out.u16(0);
    return out.take();
  }
  const bool as_v6 = !header.source.is_v4() || !header.destination.is_v4();
  out.u8(kVersion << 4 | kCommandProxy);
  out.u8(static_cast<uint8_t>((as_v6 ? kFamilyInet6 : kFamilyInet) << 4 | static_cast<uint8_t>(transport)));
  out.u16(0);  // the length, known at the end
  write_ip(out, header.source, as_v6);
  write_ip(out, header.destination, as_v6);
  out.u16(header.source.port());
  out.u16(header.destination.port());
  if (header.find(kProxyTlvCrc32c) != nullptr) return invalid("a checksum is computed, not given as a TLV");
  auto tlvs = encode_tlvs(header.tlvs);
  if (!tlvs) return std::unexpected(tlvs.error());
  out.bytes(*tlvs);
  if (out.size() - kFixedPart > UINT16_MAX) return invalid("more than 65535 bytes");
  out.patch_u16(kFixedPart - 2, static_cast<uint16_t>(out.size() - kFixedPart));
  return out.take();
}

Result<std::optional<DecodedProxy>> decode_proxy_v2(ByteView bytes) {
  const size_t known = std::min(bytes.size(), kSignature.size());
  if (!std::equal(kSignature.begin(), kSignature.begin() + known, bytes.begin())) {
    return invalid("the bytes do not start with the signature of version 2");
  }
  ByteReader fixed(bytes);
  (void)fixed.take(known);
  auto version_command = fixed.u8();
  auto family_transport = fixed.u8();
  auto length = fixed.u16();
  if (!length) return std::nullopt;
  if (*version_command >> 4 != kVersion) {
    return fail(ErrorCode::kInvalid, "PROXY header: version {}; only 2 is understood", *version_command >> 4);
  }
  const uint8_t command = *version_command & 0x0f;
  if (command > kCommandProxy) return invalid("an unknown command");
  const size_t size = kFixedPart + *length;
  if (size > kMaxProxyHeader) {
    return fail(ErrorCode::kInvalid, "PROXY header: {} bytes; at most {} are read", size, kMaxProxyHeader);
  }
  if (bytes.size() < size) return std::nullopt;

  const ByteView whole = bytes.first(size);
  ByteReader in(whole.subspan(kFixedPart));
  DecodedProxy out{.header = {}, .consumed = size};
  const uint8_t family = *family_transport >> 4;
  const uint8_t transport = *family_transport & 0x0f;
  // 2.2: of a LOCAL header everything is discarded; an unspecified family says no more than that.
  if (command == kCommandLocal || *family_transport == 0) {
    out.header.local = true;
    return out;
  }
  if (transport != static_cast<uint8_t>(ProxyTransport::kStream))
    return invalid("the transport is not a stream");
  switch (family) {
    case kFamilyInet:
      if (!read_addresses<4>(in, out.header)) return invalid("too short for its IPv4 addresses");
      break;
    case kFamilyInet6:
      if (!read_addresses<16>(in, out.header)) return invalid("too short for its IPv6 addresses");
      break;
    case kFamilyUnix:
      // There is a client, but no IP address to tell of.
      if (!in.take(kUnixPaths)) return invalid("too short for its Unix socket paths");
      out.header.local = true;
      break;
    default:
      return invalid("an unknown address family");
  }
  auto tlvs = read_tlvs(whole, in, out.header);
  if (!tlvs) return std::unexpected(tlvs.error());
  return out;
}

Result<std::optional<DecodedProxy>> decode_proxy(ByteView bytes) {
  if (bytes.empty()) return std::nullopt;
  return bytes.front() == kV1Begin.front() ? decode_proxy_v1(bytes) : decode_proxy_v2(bytes);
}

}  // namespace culvert::wire
