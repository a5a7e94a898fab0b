#include "quic/send_buffer.h"

#include <gtest/gtest.h>

#include <array>

#include "base/random.h"

namespace culvert::quic {
namespace {

Bytes gather(const SendBuffer& buffer, size_t spans_at_once, bool& all) {
  std::vector<ByteView> spans(spans_at_once);
  size_t count = buffer.unsent(spans, all);
  Bytes out;
  for (size_t i = 0; i < count; ++i) out.insert(out.end(), spans[i].begin(), spans[i].end());
  return out;
}

TEST(SendBuffer, KeepsOrderAndPlaceUntilAcknowledged) {
  SendBuffer buffer;
  buffer.append(as_bytes("hello "));
  std::array<ByteView, 1> first;
  bool all = false;
  ASSERT_EQ(buffer.unsent(first, all), 1u);
  const uint8_t* place = first[0].data();
  buffer.append(as_bytes("world"));
  EXPECT_EQ(as_text(gather(buffer, 8, all)), "hello world");
  EXPECT_TRUE(all);
  buffer.mark_sent(8);
  EXPECT_EQ(as_text(gather(buffer, 8, all)), "rld");
  EXPECT_EQ(buffer.acknowledge(8), 0u);  // the chunk is still in use
  buffer.mark_sent(3);
  EXPECT_EQ(as_text({place, 11}), "hello world");
  EXPECT_EQ(buffer.acknowledge(11), 11u);
  EXPECT_TRUE(buffer.empty());
}

TEST(SendBuffer, SaysWhenTheSpansDoNotReachTheEnd) {
  SendBuffer buffer;
  for (int i = 0; i < 5; ++i) buffer.append(Bytes(40'000, static_cast<uint8_t>(i)));
  bool all = true;
  EXPECT_LT(gather(buffer, 2, all).size(), 200'000u);
  EXPECT_FALSE(all);
  EXPECT_EQ(gather(buffer, 100, all).size(), 200'000u);
  EXPECT_TRUE(all);
}

TEST(SendBuffer, GoesOnBehindAFullChunkThatWasAcknowledged) {
  SendBuffer buffer;
  buffer.append(Bytes(32 * 1024, 1));
  buffer.mark_sent(32 * 1024);
  buffer.append(as_bytes("next"));
  buffer.acknowledge(32 * 1024);
  bool all = false;
  EXPECT_EQ(as_text(gather(buffer, 8, all)), "next");
}

TEST(SendBuffer, RandomWritesSendsAndAcknowledgementsLoseNothing) {
  SeededRandom random(1);
  SendBuffer buffer;
  uint64_t written = 0, sent = 0, acknowledged = 0;
  for (int step = 0; step < 5000; ++step) {
    Bytes block(random.below(5000));
    for (uint8_t& byte : block) byte = static_cast<uint8_t>(written++ % 251);
    buffer.append(block);
    bool all = false;
    Bytes unsent = gather(buffer, 8, all);
    for (size_t i = 0; i < unsent.size(); ++i) ASSERT_EQ(unsent[i], (sent + i) % 251);
    size_t now_sent = random.below(unsent.size() + 1);
    buffer.mark_sent(now_sent);
    sent += now_sent;
    acknowledged += random.below(sent - acknowledged + 1);
    buffer.acknowledge(acknowledged);
    ASSERT_EQ(buffer.unsent_size(), written - sent);
    ASSERT_GE(buffer.size(), written - acknowledged);
  }
  EXPECT_GE(buffer.clear(), written - acknowledged);
  EXPECT_TRUE(buffer.empty());
}

}  // namespace
}  // namespace culvert::quic
