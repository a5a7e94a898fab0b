// What strangers send first, mutated: nothing crashes, nothing is kept past its bound, and what is understood
// does not depend on how the bytes were cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/encoding.h"
#include "base/random.h"
#include "wire/client_hello.h"
#include "wire/proxy_protocol.h"

namespace culvert::wire {
namespace {

constexpr int kMutants = 100'000;

// A hello of TLS 1.3 for app.example.com with two protocols, as handshake message.
Bytes hello_message() {
  ByteWriter extensions;
  const auto extension = [&](uint16_t type, const Bytes& content) {
    extensions.u16(type);
    extensions.u16(static_cast<uint16_t>(content.size()));
    extensions.bytes(content);
  };
  const std::string_view name = "app.example.com";
  ByteWriter server_name;
  server_name.u16(static_cast<uint16_t>(name.size() + 3));
  server_name.u8(0);
  server_name.u16(static_cast<uint16_t>(name.size()));
  server_name.bytes(as_bytes(name));
  extension(0, server_name.take());
  extension(16, to_bytes(as_bytes(std::string_view("\0\x0c\x02h2\x08http/1.1", 14))));
  extension(43, {2, 3, 4});
  extension(51, Bytes(70, 0x33));
  const Bytes all = extensions.take();
  ByteWriter body;
  body.u16(0x0303);
  body.bytes(Bytes(32, 0x11));
  body.u8(32);
  body.bytes(Bytes(32, 0x22));
  body.u16(4);
  body.u16(0x1301);
  body.u16(0x1302);
  body.u8(1);
  body.u8(0);
  body.u16(static_cast<uint16_t>(all.size()));
  body.bytes(all);
  const Bytes message = body.take();
  ByteWriter out;
  out.u8(1);
  out.u8(0);
  out.u16(static_cast<uint16_t>(message.size()));
  out.bytes(message);
  return out.take();
}

// In records of at most `size` bytes.
Bytes in_records(ByteView message, size_t size) {
  ByteWriter out;
  while (!message.empty()) {
    const ByteView part = message.first(std::min(size, message.size()));
    out.u8(22);
    out.u16(0x0301);
    out.u16(static_cast<uint16_t>(part.size()));
    out.bytes(part);
    message = message.subspan(part.size());
  }
  return out.take();
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  size_t below(size_t bound) { return static_cast<size_t>(random_.below(bound)); }
  Bytes mutate(Bytes bytes, const std::vector<Bytes>& others) {
    for (size_t changes = 1 + below(4); changes > 0; --changes) {
      if (bytes.empty()) bytes.push_back(0);
      const auto at = bytes.begin() + static_cast<ptrdiff_t>(below(bytes.size()));
      switch (below(8)) {
        case 0:
          *at ^= static_cast<uint8_t>(1u << below(8));
          break;
        case 1:
          *at = kEdges[below(std::size(kEdges))];
          break;
        case 2:
          bytes.insert(at, 1 + below(20), static_cast<uint8_t>(below(256)));
          break;
        case 3:
          bytes.erase(at, at + static_cast<ptrdiff_t>(1 + below(static_cast<size_t>(bytes.end() - at))));
          break;
        case 4:
          bytes.resize(below(bytes.size() + 1));
          break;
        case 5: {  // a part once more, elsewhere
          const Bytes part(at, at + static_cast<ptrdiff_t>(1 + below(static_cast<size_t>(bytes.end() - at))));
          bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(below(bytes.size())), part.begin(), part.end());
          break;
        }
        case 6: {  // goes on as another
          const Bytes& other = others[below(others.size())];
          bytes.erase(at, bytes.end());
          bytes.insert(bytes.end(), other.begin() + static_cast<ptrdiff_t>(below(other.size())), other.end());
          break;
        }
        default:
          bytes.insert(bytes.end(), below(5'000), static_cast<uint8_t>(below(256)));
      }
    }
    return bytes;
  }

 private:
  static constexpr uint8_t kEdges[] = {0, 1, 0x16, 0x7f, 0x80, 0xff, '\r', '\n', ' '};
  SeededRandom random_;
};

struct Read {
  ClientHelloReader::State state;
  std::optional<std::string> name;
  std::vector<std::string> alpn;
  bool operator==(const Read&) const = default;
};

// Cut as `next_size` says.
Read read_hello(ByteView bytes, auto next_size) {
  ClientHelloReader reader;
  while (!bytes.empty() && reader.state() == ClientHelloReader::State::kNeedMore) {
    const ByteView part = bytes.first(std::min<size_t>(bytes.size(), next_size()));
    reader.feed(part);
    bytes = bytes.subspan(part.size());
  }
  EXPECT_LE(reader.received().size(), ClientHelloReader::kMaxBytes + 2048);
  const bool is_done = reader.state() == ClientHelloReader::State::kDone;
  if (!is_done) return {.state = reader.state(), .name = {}, .alpn = {}};
  return {.state = reader.state(), .name = reader.hello().server_name, .alpn = reader.hello().alpn};
}

TEST(Mutants, OfHellosAreReadAlikeHoweverTheyAreCut) {
  const Bytes message = hello_message();
  const std::vector<Bytes> seeds{in_records(message, message.size()), in_records(message, 40),
                                 in_records(message, 1)};
  ASSERT_EQ(read_hello(seeds[2], [] { return 1; }).name, "app.example.com");
  Mutator mutator(1);
  int done = 0;
  for (int i = 0; i < kMutants; ++i) {
    const Bytes mutant = mutator.mutate(seeds[mutator.below(seeds.size())], seeds);
    const Read whole = read_hello(mutant, [] { return 2048; });
    const Read cut = read_hello(mutant, [&] { return 1 + mutator.below(100); });
    // Past its end the cap counts in whole reads.
    if (whole.state == ClientHelloReader::State::kTooLong || cut.state == ClientHelloReader::State::kTooLong)
      continue;
    ASSERT_EQ(whole, cut) << "mutant " << i << ": " << to_hex(mutant);
    if (whole.state == ClientHelloReader::State::kDone) ++done;
  }
  EXPECT_GT(done, kMutants / 100) << "not all of them are refused at once";
  EXPECT_LT(done, kMutants);
}

TEST(Mutants, OfProxyHeadersAreReadAlikeHoweverTheyAreCut) {
  ProxyHeader header{
      .local = false,
      .source = *SocketAddr::parse("203.0.113.7:51234"),
      .destination = *SocketAddr::parse("198.51.100.1:443"),
      .tlvs = {{kProxyTlvAuthority, to_bytes(as_bytes("app.example.com"))}, {0xE1, Bytes(100, 7)}}};
  std::vector<Bytes> seeds{*encode_proxy_v2(header),
                           to_bytes(as_bytes("PROXY TCP4 203.0.113.7 198.51.100.1 51234 443\r\n")),
                           to_bytes(as_bytes("PROXY UNKNOWN\r\n"))};
  header.source = *SocketAddr::parse("[2001:db8::7]:51234");
  seeds.push_back(*encode_proxy_v2(header));
  header.local = true;
  seeds.push_back(*encode_proxy_v2(header));
  Mutator mutator(2);
  int read = 0;
  for (int i = 0; i < kMutants; ++i) {
    const Bytes mutant = mutator.mutate(seeds[mutator.below(seeds.size())], seeds);
    const auto whole = decode_proxy(mutant);
    // As the edge reads it: until it is there, or is none.
    size_t size = 0;
    auto cut = decode_proxy(ByteView(mutant).first(0));
    while (cut && !*cut && size < mutant.size()) {
      size = std::min(mutant.size(), size + 1 + mutator.below(50));
      cut = decode_proxy(ByteView(mutant).first(size));
    }
    ASSERT_EQ(whole.has_value(), cut.has_value()) << "mutant " << i << ": " << to_hex(mutant);
    if (!whole) continue;
    ASSERT_EQ(whole->has_value(), cut->has_value()) << "mutant " << i << ": " << to_hex(mutant);
    if (!*whole) {
      ASSERT_LT(mutant.size(), kMaxProxyHeader) << "it would wait for ever";
      continue;
    }
    ++read;
    ASSERT_LE((*whole)->consumed, mutant.size());
    ASSERT_EQ((*whole)->header, (*cut)->header);
    ASSERT_EQ((*whole)->consumed, (*cut)->consumed);
  }
  EXPECT_GT(read, kMutants / 100);
  EXPECT_LT(read, kMutants);
}

}  // namespace
}  // namespace culvert::wire
