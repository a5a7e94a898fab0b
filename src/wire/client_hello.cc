#include "wire/client_hello.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "base/hostname.h"

namespace culvert::wire {
namespace {

constexpr uint8_t kRecordHandshake = 22;      // RFC 8446, 5.1
constexpr size_t kRecordHeader = 5;           // type, version, length
constexpr size_t kMaxFragment = 16384 + 256;  // RFC 8446, 5.2: no record of any kind is longer
constexpr uint8_t kClientHello = 1;           // RFC 8446, 4
constexpr size_t kHandshakeHeader = 4;        // type, length
constexpr uint16_t kExtServerName = 0;        // RFC 6066, 3
constexpr uint16_t kExtAlpn = 16;             // RFC 7301, 3.1
constexpr uint8_t kNameTypeHost = 0;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::kInvalid, "malformed ClientHello: {}", what);
}

std::optional<ByteView> vector8(ByteReader& in) {
  auto size = in.u8();
  return size ? in.take(*size) : std::nullopt;
}

std::optional<ByteView> vector16(ByteReader& in) {
  auto size = in.u16();
  return size ? in.take(*size) : std::nullopt;
}

Result<std::string> fold_server_name(ByteView raw) {
  std::string name = to_lower(as_text(raw));
  if (name.ends_with('.')) name.pop_back();
  // Control characters and NUL must never reach a comparison or a log.
  if (const std::string fault = hostname_fault(name); !fault.empty()) {
    return malformed("the server name " + fault);
  }
  return name;
}

// Exactly one entry, a host name. Two would let us route by one and the origin answer by the other; other
// types were never defined, and no TLS library accepts them.
Result<std::string> parse_server_name(ByteView data) {
  ByteReader in(data);
  auto list = vector16(in);
  if (!list || !in.empty()) return malformed("server_name contradicts its length");
  ByteReader entries(*list);
  auto type = entries.u8();
  if (!type) return malformed("server_name has no entry");
  if (*type != kNameTypeHost) return malformed("server_name has an entry that is no host name");
  auto name = vector16(entries);
  if (!name) return malformed("server_name contradicts its length");
  if (!entries.empty()) return malformed("server_name has several entries");
  return fold_server_name(*name);
}

// Origins choose by the protocols too: what they could read in two ways is refused.
Result<std::vector<std::string>> parse_alpn(ByteView data) {
  std::vector<std::string> protocols;
  ByteReader in(data);
  auto list = vector16(in);
  if (!list || !in.empty()) return malformed("ALPN contradicts its length");
  if (list->empty()) return malformed("ALPN has no protocol");
  for (ByteReader entries(*list); !entries.empty();) {
    auto protocol = vector8(entries);
    if (!protocol) return malformed("ALPN contradicts its length");
    if (protocol->empty()) return malformed("ALPN has an empty protocol");
    protocols.emplace_back(as_text(*protocol));
  }
  return protocols;
}

Result<> parse_extensions(ByteView block, ClientHello& hello) {
  bool seen_name = false;
  bool seen_alpn = false;
  for (ByteReader in(block); !in.empty();) {
    auto type = in.u16();
    auto data = vector16(in);
    if (!type || !data) return malformed("an extension contradicts its length");
    if (*type == kExtServerName) {
      if (std::exchange(seen_name, true)) return malformed("server_name appears twice");
      auto name = parse_server_name(*data);
      if (!name) return std::unexpected(name.error());
      hello.server_name = std::move(*name);
    } else if (*type == kExtAlpn) {
      if (std::exchange(seen_alpn, true)) return malformed("ALPN appears twice");
      auto protocols = parse_alpn(*data);
      if (!protocols) return std::unexpected(protocols.error());
      hello.alpn = std::move(*protocols);
    }
  }
  return {};
}

// RFC 8446, 4.1.2; `body` is without the handshake header.
Result<ClientHello> parse_hello(ByteView body) {
  constexpr size_t kRandom = 32;
  constexpr size_t kMaxSessionId = 32;
  ByteReader in(body);
  if (!in.u16() || !in.take(kRandom)) return malformed("it ends before its random bytes do");
  auto session_id = vector8(in);
  if (!session_id || session_id->size() > kMaxSessionId) return malformed("session id");
  auto suites = vector16(in);
  if (!suites || suites->empty() || suites->size() % 2 != 0) return malformed("cipher suites");
  auto compression = vector8(in);
  if (!compression || compression->empty()) return malformed("compression methods");

  ClientHello hello;
  if (in.empty()) return hello;  // TLS 1.2 allows no extensions at all
  auto extensions = vector16(in);
  if (!extensions || !in.empty()) return malformed("the extensions contradict their length");
  auto parsed = parse_extensions(*extensions, hello);
  if (!parsed) return std::unexpected(parsed.error());
  return hello;
}

}  // namespace

void ClientHelloReader::stop(State state, std::string error) {
  state_ = state;
  error_ = std::move(error);
  handshake_ = {};
}

ClientHelloReader::State ClientHelloReader::feed(ByteView bytes) {
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  // Each round uses up a record header or a fragment, so the work follows the bytes fed, however small the
  // pieces.
  for (size_t before = received_.size() + 1; state_ == State::kNeedMore && scanned_ != before;) {
    before = scanned_;
    if (record_left_ == 0) begin_record();
    if (state_ == State::kNeedMore && record_left_ > 0) take_fragment();
  }
  if (state_ == State::kNeedMore && received_.size() >= kMaxBytes) {
    stop(State::kTooLong, fmt::format("the ClientHello does not end within {} bytes", kMaxBytes));
  }
  return state_;
}

// Each field is judged as soon as it is there: a browser speaking HTTP is told apart by its first byte.
void ClientHelloReader::begin_record() {
  // Past the cap nothing is looked at, so that the answer does not depend on how the bytes were cut.
  const size_t end = std::min(received_.size(), kMaxBytes);
  ByteReader in(ByteView(received_).first(end).subspan(scanned_));
  auto type = in.u8();
  if (!type) return;
  if (*type != kRecordHandshake) {
    return stop(State::kNotTls, fmt::format("record type {} where a TLS handshake is expected", *type));
  }
  auto major = in.u8();
  if (!major) return;
  if (*major != 3) return stop(State::kNotTls, fmt::format("record version {} is not TLS", *major));
  auto minor = in.u8();
  auto length = in.u16();
  if (!minor || !length) return;
  if (*length == 0) return stop(State::kNotTls, "empty TLS record in the handshake");
  if (*length > kMaxFragment) return stop(State::kNotTls, fmt::format("TLS record of {} bytes", *length));
  scanned_ += kRecordHeader;
  record_left_ = *length;
}

void ClientHelloReader::take_fragment() {
  size_t wanted = kHandshakeHeader;
  if (handshake_.size() >= kHandshakeHeader) {
    ByteReader header(ByteView(handshake_).subspan(1));
    wanted += header.u24().value_or(0);
  }
  const size_t end = std::min(received_.size(), kMaxBytes);
  const size_t count = std::min({record_left_, end - scanned_, wanted - handshake_.size()});
  const auto from = received_.begin() + static_cast<ptrdiff_t>(scanned_);
  handshake_.insert(handshake_.end(), from, from + static_cast<ptrdiff_t>(count));
  scanned_ += count;
  record_left_ -= count;

  if (!handshake_.empty() && handshake_[0] != kClientHello) {
    return stop(State::kNotTls,
                fmt::format("handshake message {} where a ClientHello is expected", handshake_[0]));
  }
  if (handshake_.size() < wanted) return;
  if (wanted == kHandshakeHeader) {
    ByteReader header(ByteView(handshake_).subspan(1));
    const size_t length = header.u24().value_or(0);
    if (length == 0) return stop(State::kNotTls, "malformed ClientHello: empty");
    if (length > kMaxBytes - kHandshakeHeader) {
      return stop(State::kTooLong,
                  fmt::format("a ClientHello of {} bytes; at most {} are read", length, kMaxBytes));
    }
    return;
  }
  auto hello = parse_hello(ByteView(handshake_).subspan(kHandshakeHeader));
  if (!hello) return stop(State::kNotTls, std::move(hello.error().message));
  hello_ = std::move(*hello);
  stop(State::kDone, {});
}

}  // namespace culvert::wire
