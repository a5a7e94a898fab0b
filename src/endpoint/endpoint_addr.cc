#include "endpoint/endpoint_addr.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "base/encoding.h"

// The format is postcard's, as iroh 1.x writes it: integers in groups of 7 bits, least significant group
// first.
namespace culvert::endpoint {
namespace {

constexpr uint64_t kAddrRelay = 0;
constexpr uint64_t kAddrIp = 1;
constexpr uint64_t kAddrCustom = 2;
constexpr uint64_t kIpV4 = 0;
constexpr uint64_t kIpV6 = 1;
constexpr uint64_t kTicketVariant = 0;
constexpr std::string_view kTicketPrefix = "endpoint";

// Tickets come from unauthenticated peers, and each address may be dialled: more are abuse, real ones have a
// handful.
constexpr uint64_t kMaxAddrs = 64;
constexpr size_t kMaxRelayUrl = 2048;

void write_varint(ByteWriter& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.u8(static_cast<uint8_t>(value | 0x80));
  out.u8(static_cast<uint8_t>(value));
}

// Like postcard: no more groups than the type can need, no bits beyond it, but needless zero groups are fine.
template <class T>
std::optional<T> read_varint(ByteReader& in) {
  constexpr int kBits = std::numeric_limits<T>::digits;
  uint64_t value = 0;
  for (int shift = 0; shift < kBits; shift += 7) {
    auto group = in.u8();
    if (!group) return std::nullopt;
    const uint64_t bits = *group & 0x7f;
    if (kBits - shift < 7 && bits >> (kBits - shift) != 0) return std::nullopt;
    value |= bits << shift;
    if (*group < 0x80) return static_cast<T>(value);
  }
  return std::nullopt;
}

std::unexpected<Error> invalid(const char* what) {
  return fail(ErrorCode::kInvalid, "endpoint address: {}", what);
}

template <size_t kSize>
std::optional<std::array<uint8_t, kSize>> read_array(ByteReader& in) {
  auto bytes = in.take(kSize);
  if (!bytes) return std::nullopt;
  std::array<uint8_t, kSize> out;
  std::ranges::copy(*bytes, out.begin());
  return out;
}

// iroh's order: IPv4 before IPv6, then by address, then by port.
auto ip_order(const SocketAddr& addr) {
  const ByteView ip = addr.ip();
  return std::tuple(!addr.is_v4(), Bytes(ip.begin(), ip.end()), addr.port());
}

// The list is a set that has one order on the wire.
void make_canonical(EndpointAddr& addr) {
  std::ranges::sort(addr.relay_urls);
  addr.relay_urls.erase(std::ranges::unique(addr.relay_urls).begin(), addr.relay_urls.end());
  std::ranges::sort(addr.ip_addrs, {}, ip_order);
  addr.ip_addrs.erase(std::ranges::unique(addr.ip_addrs).begin(), addr.ip_addrs.end());
}

bool is_relay_url(std::string_view url) {
  return url.size() <= kMaxRelayUrl && (url.starts_with("https://") || url.starts_with("http://")) &&
         std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<SocketAddr> read_ip(ByteReader& in) {
  auto family = read_varint<uint32_t>(in);
  if (family == kIpV4) {
    auto ip = read_array<4>(in);
    auto port = read_varint<uint16_t>(in);
    if (ip && port) return SocketAddr::v4(*ip, *port);
  } else if (family == kIpV6) {
    auto ip = read_array<16>(in);
    auto port = read_varint<uint16_t>(in);
    if (ip && port) return SocketAddr::v6(*ip, *port);
  }
  return invalid("an IP address is cut short or wrong");
}

Result<> read_transport_addr(ByteReader& in, EndpointAddr& addr) {
  auto kind = read_varint<uint32_t>(in);
  if (!kind) return invalid("it is cut short");
  if (*kind == kAddrIp) {
    auto ip = read_ip(in);
    if (!ip) return std::unexpected(ip.error());
    addr.ip_addrs.push_back(*ip);
    return {};
  }
  if (*kind == kAddrRelay) {
    auto size = read_varint<uint64_t>(in);
    auto url = size ? in.take(*size) : std::nullopt;
    if (!url) return invalid("a relay URL is cut short");
    if (!is_relay_url(as_text(*url))) return invalid("a relay URL is no http or https URL");
    addr.relay_urls.emplace_back(as_text(*url));
    return {};
  }
  if (*kind == kAddrCustom) {
    // Tor, Bluetooth and the like: hints that we have no transport for.
    auto transport = read_varint<uint64_t>(in);
    auto size = read_varint<uint64_t>(in);
    if (!transport || !size || !in.take(*size)) return invalid("a custom address is cut short");
    return {};
  }
  return fail(ErrorCode::kInvalid,
              "endpoint address: an address of the unknown kind {}; a newer program made it", *kind);
}

}  // namespace

Bytes encode(const EndpointAddr& addr) {
  EndpointAddr sorted = addr;
  make_canonical(sorted);
  ByteWriter out;
  out.bytes(sorted.id.bytes());
  write_varint(out, sorted.relay_urls.size() + sorted.ip_addrs.size());
  for (const std::string& url : sorted.relay_urls) {
    write_varint(out, kAddrRelay);
    write_varint(out, url.size());
    out.bytes(as_bytes(url));
  }
  for (const SocketAddr& ip : sorted.ip_addrs) {
    write_varint(out, kAddrIp);
    write_varint(out, ip.is_v4() ? kIpV4 : kIpV6);
    out.bytes(ip.ip());
    write_varint(out, ip.port());
  }
  return out.take();
}

Result<EndpointAddr> decode_endpoint_addr(ByteView bytes) {
  ByteReader in(bytes);
  auto raw_id = in.take(EndpointId::kSize);
  if (!raw_id) return invalid("it is shorter than a key");
  auto id = EndpointId::from_bytes(*raw_id);
  if (!id) return fail(ErrorCode::kInvalid, "endpoint address: {}", id.error().message);
  auto count = read_varint<uint64_t>(in);
  if (!count) return invalid("it is cut short");
  if (*count > kMaxAddrs) {
    return fail(ErrorCode::kInvalid, "endpoint address: {} addresses; at most {} are read", *count,
                kMaxAddrs);
  }
  EndpointAddr addr{.id = *id, .relay_urls = {}, .ip_addrs = {}};
  for (uint64_t i = 0; i < *count; ++i) {
    auto read = read_transport_addr(in, addr);
    if (!read) return std::unexpected(read.error());
  }
  if (!in.empty()) return invalid("bytes follow its end");
  make_canonical(addr);
  return addr;
}

std::string to_ticket(const EndpointAddr& addr) {
  ByteWriter out;
  write_varint(out, kTicketVariant);
  out.bytes(encode(addr));
  return std::string(kTicketPrefix) + to_base32(out.view());
}

Result<EndpointAddr> parse_ticket(std::string_view text) {
  if (!text.starts_with(kTicketPrefix)) {
    return fail(ErrorCode::kInvalid,
                "endpoint ticket: it does not start with \"{}\"; copy the whole ticket again", kTicketPrefix);
  }
  auto bytes = from_base32(text.substr(kTicketPrefix.size()));
  if (!bytes) {
    return fail(ErrorCode::kInvalid, "endpoint ticket: {}; copy the whole ticket again",
                bytes.error().message);
  }
  ByteReader in(*bytes);
  auto variant = read_varint<uint32_t>(in);
  if (!variant) return fail(ErrorCode::kInvalid, "endpoint ticket: it is empty; copy the whole ticket again");
  if (*variant != kTicketVariant) {
    return fail(ErrorCode::kInvalid, "endpoint ticket: version {} is unknown; a newer program made it",
                *variant);
  }
  return decode_endpoint_addr(in.rest());
}

}  // namespace culvert::endpoint
