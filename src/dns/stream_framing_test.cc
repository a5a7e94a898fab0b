#include "dns/stream_framing.h"

#include <gtest/gtest.h>

namespace culvert::dns {
namespace {

TEST(StreamFraming, RoundTripsInAnyPieces) {
  const std::vector<Bytes> messages = {Bytes(12, 1), Bytes(300, 2), Bytes(13, 3)};
  Bytes all;
  for (const Bytes& message : messages) append_framed(message, all);
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, all.size()}) {
    FrameReader reader(300);
    std::vector<Bytes> got;
    for (size_t at = 0; at < all.size(); at += piece) {
      reader.feed(ByteView(all).subspan(at, std::min(piece, all.size() - at)));
      while (true) {
        auto message = reader.next();
        ASSERT_TRUE(message);
        if (!*message) break;
        got.push_back(std::move(**message));
      }
    }
    EXPECT_EQ(got, messages);
    EXPECT_TRUE(reader.is_empty());
  }
}

TEST(StreamFraming, LengthsThatNoMessageHasAreRefusedAtOnce) {
  FrameReader reader(300);
  reader.feed(Bytes{0x01, 0x2d});  // 301
  EXPECT_EQ(reader.next().error().code, ErrorCode::kLimit);
  FrameReader small(300);
  small.feed(Bytes{0, 11});
  EXPECT_EQ(small.next().error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace culvert::dns
