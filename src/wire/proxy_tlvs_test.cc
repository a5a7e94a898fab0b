#include "wire/proxy_tlvs.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace culvert::wire {
namespace {

constexpr uint8_t kUniqueId = 0x05;
constexpr uint8_t kSsl = 0x20;
constexpr uint8_t kNetns = 0x30;
constexpr uint8_t kGoogle = 0xe0;
constexpr uint8_t kAmazon = 0xea;
constexpr uint8_t kAzure = 0xee;

TEST(ProxyTlvs, AreTypeLengthAndValue) {
  const std::vector<ProxyTlv> tlvs = {{kUniqueId, {1, 2}}, {kGoogle, {}}};
  EXPECT_EQ(to_hex(encode_tlvs(tlvs).value()), "0500020102e00000");
  EXPECT_EQ(decode_tlvs(encode_tlvs(tlvs).value()), tlvs);
  EXPECT_TRUE(encode_tlvs({})->empty());
  EXPECT_TRUE(decode_tlvs({})->empty());
}

TEST(ProxyTlvs, MustFit) {
  const Bytes bytes = from_hex("0500020102").value();
  for (size_t size = 1; size < bytes.size(); ++size) {
    const auto decoded = decode_tlvs(ByteView(bytes).first(size));
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  }
  EXPECT_TRUE(encode_tlvs(std::vector{ProxyTlv{kSsl, Bytes(65'535)}}));
  EXPECT_FALSE(encode_tlvs(std::vector{ProxyTlv{kSsl, Bytes(65'536)}}));
}

TEST(ProxyTlvs, WhatTheProxySaysOfAConnectionIsForwardedInOrder) {
  const std::vector<ProxyTlv> said = {{kProxyTlvAlpn, {'h', '2'}},
                                      {kProxyTlvAuthority, {'a', '.', 'e', 'u'}},
                                      {kUniqueId, {7}},
                                      {kSsl, {5, 0, 0, 0, 0}},
                                      {kNetns, {'n'}},
                                      {kGoogle, {8}},
                                      {kAmazon, {1, 'v', 'p', 'c', 'e'}},
                                      {kAzure, {1, 0, 0, 0, 9}}};
  const ForwardedTlvs forwarded = forwarded_tlvs(said);
  EXPECT_EQ(forwarded.tlvs, said);
  EXPECT_FALSE(forwarded.is_cut);
}

TEST(ProxyTlvs, PaddingAndChecksumsAreNotForwarded) {
  const ProxyTlv id{kUniqueId, {7}};
  const ForwardedTlvs forwarded =
      forwarded_tlvs({{kProxyTlvNoop, Bytes(4'000)}, {kProxyTlvCrc32c, Bytes(4)}, id, {kProxyTlvNoop, {}}});
  EXPECT_EQ(forwarded.tlvs, std::vector{id});
  EXPECT_FALSE(forwarded.is_cut);
}

TEST(ProxyTlvs, OfEachTypeTheFirstCounts) {
  const ForwardedTlvs forwarded = forwarded_tlvs({{kUniqueId, {1}}, {kSsl, {2}}, {kUniqueId, Bytes(600)}});
  EXPECT_EQ(forwarded.tlvs, (std::vector<ProxyTlv>{{kUniqueId, {1}}, {kSsl, {2}}}));
  EXPECT_FALSE(forwarded.is_cut);
}

TEST(ProxyTlvs, ALongListIsCutBetweenTwo) {
  const ProxyTlv first{kUniqueId, Bytes(100)}, second{kSsl, Bytes(kMostForwardedTlvs - 2 * 3 - 100)};
  EXPECT_FALSE(forwarded_tlvs({first, second}).is_cut);
  EXPECT_EQ(encode_tlvs(forwarded_tlvs({first, second}).tlvs)->size(), kMostForwardedTlvs);
  const ForwardedTlvs cut = forwarded_tlvs({first, second, {kNetns, {}}});
  EXPECT_EQ(cut.tlvs, (std::vector<ProxyTlv>{first, second}));
  EXPECT_TRUE(cut.is_cut);
  EXPECT_EQ(forwarded_tlvs({first, {kSsl, Bytes(600)}, {kNetns, {}}}).tlvs, std::vector{first});
  EXPECT_EQ(forwarded_tlvs(cut.tlvs).tlvs, cut.tlvs);
}

}  // namespace
}  // namespace culvert::wire
