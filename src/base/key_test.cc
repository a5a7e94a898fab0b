#include "base/key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <unordered_set>

#include "base/encoding.h"
#include "base/small_order_keys.h"

namespace culvert {
namespace {

Bytes hex(std::string_view text) { return from_hex(text).value(); }

Result<PublicKey> key_of(std::string_view text) { return PublicKey::from_bytes(hex(text)); }

SecretKey seed_of(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

Signature signature_of(std::string_view text) {
  Signature out;
  std::ranges::copy(hex(text), out.begin());
  return out;
}

// s + L, a second spelling of the same number.
Signature add_order(Signature signature) {
  const Bytes order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  unsigned carry = 0;
  for (size_t i = 0; i < 32; ++i) {
    carry += signature[32 + i] + order[i];
    signature[32 + i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  return signature;
}

// RFC 8032, 7.1: tests 1, 2, 3 and "SHA(abc)".
TEST(SecretKey, RfcVectors) {
  struct Vector {
    const char *seed, *public_key, *message, *signature;
  };
  const Vector vectors[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf"
       "5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2"
       "eaeb4302aeeb00d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c1"
       "5e9716ed28dc027beceea1ec40a"},
      {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
       "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
       "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4"
       "423643ce80e2a9ac94fa54ca49f",
       "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca1"
       "79c138ac17ad9bef1177331a704"},
  };
  for (const Vector& vector : vectors) {
    auto key = SecretKey::from_seed(hex(vector.seed));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->public_key().to_string(), vector.public_key);
    const Bytes message = hex(vector.message);
    EXPECT_EQ(to_hex(key->sign(message)), vector.signature);
    EXPECT_TRUE(key->public_key().verify(message, signature_of(vector.signature)));
  }
}

TEST(SecretKey, NeedsExactly32Bytes) {
  for (size_t size : {0u, 31u, 33u, 64u}) EXPECT_FALSE(SecretKey::from_seed(Bytes(size, 1))) << size;
}

TEST(SecretKey, GenerateDrawsFromItsSource) {
  SeededRandom one(1), same(1), other(2);
  const SecretKey key = SecretKey::generate(one);
  EXPECT_EQ(key.public_key(), SecretKey::generate(same).public_key());
  EXPECT_NE(key.public_key(), SecretKey::generate(other).public_key());
  EXPECT_EQ(SecretKey::from_seed(key.expose_seed())->public_key(), key.public_key());
}

TEST(PublicKey, TextForms) {
  const PublicKey zeros = seed_of(0).public_key();
  EXPECT_EQ(zeros.to_string(), "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29");
  EXPECT_EQ(zeros.short_text(), "3b6a27bcce");
  EXPECT_EQ(zeros.to_zbase32(), "8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo");
  EXPECT_EQ(zeros.tls_name(), "7dl2ff6emqi2qol3l382krodedij45bn3nh479hqo14a32qpr8kg.iroh.invalid");
  const PublicKey key = seed_of(0x2a).public_key();
  EXPECT_EQ(key.to_string(), "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61");
  EXPECT_EQ(key.to_zbase32(), "df9sse9bp1nuftim3yhxiuk6w6r5hddsskjygpydux7esxjstioo");
  EXPECT_EQ(key.tls_name(), "35vmm8v1di2j5hlbp0sfljauku4rs33mma906d03jft8mf9mhlgg.iroh.invalid");
  EXPECT_EQ(key_of("1992d53c02cdc04566e5c0edb1ce83305cd550297953a047a445ea3264b54b18")->to_zbase32(),
            "dgjpkxyn3zyrk3zfads5duwdgbqpkwbjxfj4yt7rezidr3fijccy");
}

TEST(PublicKey, ParsesHexAndBase32) {
  const PublicKey key = key_of("ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6").value();
  EXPECT_EQ(PublicKey::parse("ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6"), key);
  EXPECT_EQ(PublicKey::parse("vzmp7cbteqnmqllp65qrarxnm62qoliufrmi2add5fbntj2vak3a"), key);
  EXPECT_EQ(PublicKey::parse("VZMP7CBTEQNMQLLP65QRARXNM62QOLIUFRMI2ADD5FBNTJ2VAK3A"), key);
  EXPECT_TRUE(PublicKey::parse("vpnk377obfvzlipnsfbqba7ywkkenc4xlpmovt5tsfujoa75zqia"));
}

TEST(PublicKey, ParseRefusesTheRest) {
  const std::string good = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";
  std::string upper = good;
  std::ranges::transform(upper, upper.begin(),
                         [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
  for (const std::string& text : {std::string(), std::string("foobarbaz"), upper, good + "00", good.substr(2),
                                  good + " ", std::string(64, 'g'), std::string(52, 'a') + "aa",
                                  std::string("vzmp7cbteqnmqllp65qrarxnm62qoliufrmi2add5fbntj2vak3b")}) {
    auto key = PublicKey::parse(text);
    ASSERT_FALSE(key) << text;
    EXPECT_EQ(key.error().code, ErrorCode::kInvalid);
    if (text.size() > 10) EXPECT_EQ(key.error().message.find(text), std::string::npos);
  }
}

TEST(PublicKey, AcceptsEveryPointAboveSmallOrderAndNothingElse) {
  EXPECT_FALSE(PublicKey::from_bytes(Bytes(31, 0)));
  EXPECT_FALSE(PublicKey::from_bytes(Bytes(33, 0)));
  EXPECT_FALSE(PublicKey::from_bytes({}));
  // y = 2 and y = 7 have no x; y = 3 and the base point have.
  EXPECT_FALSE(key_of("0200000000000000000000000000000000000000000000000000000000000000"));
  EXPECT_FALSE(key_of("0700000000000000000000000000000000000000000000000000000000000000"));
  EXPECT_TRUE(key_of("0300000000000000000000000000000000000000000000000000000000000000"));
  EXPECT_TRUE(key_of("5866666666666666666666666666666666666666666666666666666666666666"));
  EXPECT_TRUE(key_of("58666666666666666666666666666666666666666666666666666666666666e6"));
  // y = p and above: second spellings of small numbers.
  EXPECT_FALSE(key_of("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"));
  EXPECT_FALSE(PublicKey::from_bytes(Bytes(32, 0xff)));
}

TEST(PublicKey, RefusesPointsOfSmallOrderInEveryForm) {
  for (const char* encoded : kSmallOrderKeys) {
    const Bytes bytes = hex(encoded);
    auto key = PublicKey::from_bytes(bytes);
    ASSERT_FALSE(key) << encoded;
    EXPECT_EQ(key.error().code, ErrorCode::kInvalid);
    EXPECT_FALSE(PublicKey::parse(encoded)) << encoded;
    EXPECT_FALSE(PublicKey::parse(to_base32(bytes))) << encoded;
  }
  EXPECT_NE(key_of(kSmallOrderKeys[0]).error().message.find("small order"), std::string::npos);
}

TEST(PublicKey, AboutHalfOfAllStringsArePoints) {
  SeededRandom random(11);
  int points = 0;
  for (int i = 0; i < 1000; ++i) {
    Bytes bytes(32);
    random.fill(bytes);
    points += PublicKey::from_bytes(bytes).has_value();
  }
  EXPECT_GT(points, 400);
  EXPECT_LT(points, 600);
}

TEST(PublicKey, EveryDerivedKeyIsAPoint) {
  SeededRandom random(3);
  for (int i = 0; i < 200; ++i) {
    const SecretKey key = SecretKey::generate(random);
    EXPECT_EQ(PublicKey::from_bytes(key.public_key().bytes()), key.public_key());
  }
}

TEST(Verify, RefusesAnyChange) {
  const SecretKey key = seed_of(7);
  const Bytes message = to_bytes(as_bytes("declare app.example.eu"));
  const Signature good = key.sign(message);
  EXPECT_TRUE(key.public_key().verify(message, good));
  EXPECT_FALSE(seed_of(8).public_key().verify(message, good));
  EXPECT_FALSE(key.public_key().verify(as_bytes("declare App.example.eu"), good));
  EXPECT_FALSE(key.public_key().verify({}, good));
  for (size_t i = 0; i < good.size(); ++i) {
    Signature bad = good;
    bad[i] ^= 1;
    EXPECT_FALSE(key.public_key().verify(message, bad)) << i;
  }
  EXPECT_FALSE(key.public_key().verify(message, Signature{}));
}

TEST(Verify, RefusesASecondSpellingOfS) {
  const SecretKey key = seed_of(7);
  const Signature good = key.sign(as_bytes("once"));
  ASSERT_TRUE(key.public_key().verify(as_bytes("once"), good));
  EXPECT_FALSE(key.public_key().verify(as_bytes("once"), add_order(good)));
}

// No key is of small order. With such an R, a signature holds for more messages than the one that was signed.
TEST(Verify, RefusesSmallOrderR) {
  for (const char* r : kSmallOrderKeys) {
    const SecretKey key = seed_of(9);
    Signature forged = key.sign(as_bytes("x"));
    std::ranges::copy(hex(r), forged.begin());
    EXPECT_FALSE(key.public_key().verify(as_bytes("x"), forged));
  }
}

TEST(PublicKey, HashesAndCompares) {
  std::unordered_set<PublicKey> keys = {seed_of(1).public_key(), seed_of(2).public_key(),
                                        seed_of(1).public_key()};
  EXPECT_EQ(keys.size(), 2u);
  EXPECT_TRUE(keys.contains(seed_of(2).public_key()));
}

}  // namespace
}  // namespace culvert
