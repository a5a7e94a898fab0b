#include "base/bytes.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(ByteReader, ReadsBigEndian) {
  const Bytes bytes = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0xff, 0xff, 0xff, 0xfe,
                       0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09};
  ByteReader in(bytes);
  EXPECT_EQ(in.u8(), 0x01);
  EXPECT_EQ(in.u16(), 0x0203);
  EXPECT_EQ(in.u24(), 0x040506u);
  EXPECT_EQ(in.u32(), 0xfffffffeu);
  EXPECT_EQ(in.u64(), 0x0102030405060708u);
  EXPECT_EQ(to_bytes(in.rest()), Bytes{0x09});
  EXPECT_FALSE(in.empty());
}

TEST(ByteReader, ShortReadConsumesNothing) {
  const Bytes bytes = {0xaa, 0xbb};
  ByteReader in(bytes);
  EXPECT_EQ(in.u24(), std::nullopt);
  EXPECT_EQ(in.u32(), std::nullopt);
  EXPECT_EQ(in.u64(), std::nullopt);
  EXPECT_FALSE(in.take(3));
  EXPECT_FALSE(in.take(SIZE_MAX));
  EXPECT_EQ(in.u16(), 0xaabb);
  EXPECT_TRUE(in.empty());
  EXPECT_EQ(in.u8(), std::nullopt);
  EXPECT_TRUE(in.take(0));
}

TEST(ByteWriter, WritesWhatTheReaderReads) {
  ByteWriter out;
  out.u8(0x12);
  out.u16(0);
  out.u24(0x345678);
  out.u32(0x9abcdef0);
  out.u64(0x1122334455667788);
  out.bytes(as_bytes("end"));
  out.patch_u16(1, 0xbeef);
  EXPECT_EQ(out.size(), 21u);
  const Bytes bytes = out.take();
  ByteReader in(bytes);
  EXPECT_EQ(in.u8(), 0x12);
  EXPECT_EQ(in.u16(), 0xbeef);
  EXPECT_EQ(in.u24(), 0x345678u);
  EXPECT_EQ(in.u32(), 0x9abcdef0u);
  EXPECT_EQ(in.u64(), 0x1122334455667788u);
  EXPECT_EQ(as_text(in.rest()), "end");
}

}  // namespace
}  // namespace culvert
