#include "base/encoding.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace culvert {
namespace {

Bytes bytes(std::string_view text) { return to_bytes(as_bytes(text)); }

using Decoder = Result<Bytes> (*)(std::string_view);

void expect_refused(Decoder decode, std::string_view text) {
  auto got = decode(text);
  ASSERT_FALSE(got) << "accepted " << text;
  EXPECT_EQ(got.error().code, ErrorCode::kInvalid);
  // Inputs may be secrets.
  if (text.size() > 3) EXPECT_EQ(got.error().message.find(text), std::string::npos) << got.error().message;
}

TEST(Hex, EncodesAndDecodes) {
  EXPECT_EQ(to_hex(Bytes{0x00, 0x1f, 0xff}), "001fff");
  EXPECT_EQ(from_hex("001fff"), (Bytes{0x00, 0x1f, 0xff}));
  EXPECT_EQ(to_hex({}), "");
  EXPECT_EQ(from_hex(""), Bytes{});
}

TEST(Hex, IsStrict) {
  for (auto text : {"001FFF", "0", "001", "0x00", "00 1", "zz", "00\n"}) expect_refused(from_hex, text);
  expect_refused(from_hex, std::string_view("00\0", 3));
}

// RFC 4648, 10, without padding.
TEST(Base32, RfcVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "my"},
                                                         {"fo", "mzxq"},
                                                         {"foo", "mzxw6"},
                                                         {"foob", "mzxw6yq"},
                                                         {"fooba", "mzxw6ytb"},
                                                         {"foobar", "mzxw6ytboi"}};
  for (auto [plain, text] : vectors) {
    EXPECT_EQ(to_base32(as_bytes(plain)), text);
    EXPECT_EQ(from_base32(text), bytes(plain));
  }
  EXPECT_EQ(from_base32("MZXW6YTBOI"), bytes("foobar"));
  EXPECT_EQ(from_base32("mZxW6yTbOi"), bytes("foobar"));
}

TEST(Base32, IsStrict) {
  for (auto text : {"mzxw6ytboi======", "m", "mzx", "mzxw6y", "mz", "mzxw6ytbo1", "mzxw6ytb0i", "mzxw 6yq"}) {
    expect_refused(from_base32, text);
  }
}

TEST(Base32Hex, RfcVectors) {
  EXPECT_EQ(to_base32hex(as_bytes("f")), "co");
  EXPECT_EQ(to_base32hex(as_bytes("foobar")), "cpnmuoj1e8");
}

// Vectors of the z-base-32 specification that end on whole bytes.
TEST(ZBase32, KnownVectors) {
  EXPECT_EQ(to_zbase32(Bytes{0xf0, 0xbf, 0xc7}), "6n9hq");
  EXPECT_EQ(to_zbase32(Bytes{0xd4, 0x7a, 0x04}), "4t7ye");
  EXPECT_EQ(from_zbase32("6n9hq"), (Bytes{0xf0, 0xbf, 0xc7}));
  EXPECT_EQ(from_zbase32("4t7ye"), (Bytes{0xd4, 0x7a, 0x04}));
  for (auto text : {"6N9HQ", "6n9hl", "6n9h0", "6", "6n9h2", "6n9hx"}) expect_refused(from_zbase32, text);
}

TEST(Base64, RfcVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (auto [plain, text] : vectors) {
    EXPECT_EQ(to_base64(as_bytes(plain)), text);
    EXPECT_EQ(from_base64(text), bytes(plain));
  }
  EXPECT_EQ(to_base64(Bytes{0xfb, 0xff}), "+/8=");
}

TEST(Base64, IsStrict) {
  for (auto text :
       {"Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm-v", "Zm_v", "=Zg="}) {
    expect_refused(from_base64, text);
  }
}

TEST(Base64Url, EncodesWithoutPadding) {
  EXPECT_EQ(to_base64url(Bytes{0xfb, 0xff}), "-_8");
  EXPECT_EQ(from_base64url("-_8"), (Bytes{0xfb, 0xff}));
  for (auto text : {"-_8=", "+/8", "-_9", "a", "abcde", "ab d", "ab.d"}) expect_refused(from_base64url, text);
}

TEST(Percent, EncodesAllThatHasAMeaningInAUrl) {
  EXPECT_EQ(to_percent("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(to_percent("tenant a/*.b?&=#%+"), "tenant%20a%2F%2A.b%3F%26%3D%23%25%2B");
  EXPECT_EQ(from_percent("tcp%2F2222%2f%2A+"), "tcp/2222/*+");
  for (const char* text : {"%", "a%2", "%zz", "%2", "%%20", "%2%", "% 2", "%+1"}) {
    auto refused = from_percent(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  }
  std::string all;
  for (int value = 0; value < 256; ++value) all += static_cast<char>(value);
  EXPECT_EQ(from_percent(to_percent(all)), all);
}

TEST(Encoding, EveryLengthSurvives) {
  SeededRandom random(7);
  for (size_t size = 0; size < 70; ++size) {
    Bytes data(size);
    random.fill(data);
    EXPECT_EQ(from_hex(to_hex(data)), data);
    EXPECT_EQ(from_base32(to_base32(data)), data);
    EXPECT_EQ(from_zbase32(to_zbase32(data)), data);
    EXPECT_EQ(from_base64(to_base64(data)), data);
    EXPECT_EQ(from_base64url(to_base64url(data)), data);
  }
}

TEST(Encoding, BytesOutsideAsciiAreRefused) {
  for (int value = 0x80; value <= 0xff; ++value) {
    const std::string text(4, static_cast<char>(value));
    for (Decoder decode : {from_hex, from_base32, from_zbase32, from_base64, from_base64url}) {
      EXPECT_FALSE(decode(text));
    }
  }
}

}  // namespace
}  // namespace culvert
