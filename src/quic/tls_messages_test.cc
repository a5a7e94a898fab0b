#include "quic/tls_messages.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

constexpr auto kInitial = NGTCP2_ENCRYPTION_LEVEL_INITIAL;
constexpr auto kHandshake = NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE;
constexpr auto kOneRtt = NGTCP2_ENCRYPTION_LEVEL_1RTT;
constexpr uint8_t kKeyUpdate = 24;

Bytes message(uint8_t type, size_t body_size) {
  Bytes out{type, 0, static_cast<uint8_t>(body_size >> 8), static_cast<uint8_t>(body_size)};
  out.resize(4 + body_size);
  return out;
}

bool accepts(TlsMessageReader& reader, ngtcp2_encryption_level level, uint8_t type) {
  const Bytes bytes = message(type, 3);
  ByteView data = bytes;
  return reader.next(level, data).has_value();
}

TEST(TlsMessageReader, CutsMessagesWhereverTheBytesAreCut) {
  Bytes stream;
  for (size_t size : {300u, 0u, 1u}) {
    const Bytes one = message(11, size);
    stream.insert(stream.end(), one.begin(), one.end());
  }
  for (size_t step = 1; step <= stream.size(); ++step) {
    TlsMessageReader reader(true);
    std::vector<size_t> sizes(1);
    for (ByteView rest = stream; !rest.empty();) {
      ByteView piece = rest.first(std::min(step, rest.size()));
      rest = rest.subspan(piece.size());
      while (!piece.empty()) {
        auto part = reader.next(kHandshake, piece);
        ASSERT_TRUE(part);
        sizes.back() += part->data.size();
        if (part->is_last) sizes.push_back(0);
      }
    }
    EXPECT_EQ(sizes, (std::vector<size_t>{304, 4, 5, 0})) << step;
  }
}

TEST(TlsMessageReader, EachLevelHasItsMessages) {
  struct Case {
    bool from_client;
    ngtcp2_encryption_level level;
    std::vector<uint8_t> allowed;
  };
  const std::vector<Case> cases = {
      {true, kInitial, {1}},  {true, kHandshake, {11, 15, 20}},         {true, kOneRtt, {}},
      {false, kInitial, {2}}, {false, kHandshake, {8, 11, 13, 15, 20}}, {false, kOneRtt, {4}},
  };
  for (const Case& c : cases) {
    std::vector<uint8_t> allowed;
    for (unsigned type = 0; type < 256; ++type) {
      TlsMessageReader reader(c.from_client);
      if (accepts(reader, c.level, static_cast<uint8_t>(type))) allowed.push_back(static_cast<uint8_t>(type));
    }
    EXPECT_EQ(allowed, c.allowed) << c.from_client << " level " << c.level;
  }
}

TEST(TlsMessageReader, LengthsAreBounded) {
  for (size_t extra : {0u, 1u}) {
    TlsMessageReader reader(true);
    const Bytes bytes = message(1, TlsMessageReader::kMaxMessage - 4 + extra);
    ByteView data = bytes;
    auto part = reader.next(kInitial, data);
    EXPECT_EQ(part.has_value(), extra == 0);
    if (!part) EXPECT_EQ(part.error(), kAlertIllegalParameter);
  }
}

TEST(TlsMessageReader, OnlyTicketsComeAfterFinished) {
  TlsMessageReader reader(false);
  Bytes bytes = message(20, 32);
  bytes.push_back(kKeyUpdate);
  ByteView data = bytes;
  auto finished = reader.next(kHandshake, data);
  ASSERT_TRUE(finished && finished->is_last);
  EXPECT_FALSE(reader.next(kHandshake, data));
  EXPECT_FALSE(accepts(reader, kHandshake, 11));
  EXPECT_FALSE(accepts(reader, kInitial, 2));
  EXPECT_FALSE(accepts(reader, kOneRtt, kKeyUpdate));
  EXPECT_TRUE(accepts(reader, kOneRtt, 4));
}

}  // namespace
}  // namespace culvert::quic
