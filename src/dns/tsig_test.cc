#include "dns/tsig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "dns/testing.h"

namespace culvert::dns {
namespace {

using ::testing::HasSubstr;
using testing::name;
using ::testing::Not;

constexpr const char* kSecret = "c2VjcmV0LW9mLTMyLWJ5dGVzLWZvci10c2lnLXRlc3Q=";
constexpr UnixTime kNow{std::chrono::seconds(1'700'000'000)};

TsigKey key(std::string_view algorithm = "hmac-sha256", std::string_view secret = kSecret) {
  return make_tsig_key("Key.Example.", algorithm, secret).value();
}

Message update() {
  Message message{.header = {.id = 0x2345, .opcode = Opcode::kUpdate},
                  .questions = {{name("example.net"), Type::kSoa}}};
  message.authority.push_back(testing::txt("_acme-challenge.example.net", "value", 60));
  return message;
}

// Made with dnspython 2.3: an update as above, the answer to it, and one that says BADTIME.
struct Vector {
  const char* algorithm;
  const char* request;
  const char* answer;
};
constexpr Vector kVectors[] = {
    {"hmac-sha256",
     "234528000001000000010001076578616d706c65036e657400000600010f5f61636d652d6368616c6c656e6765"
     "c00c001000010000003c00060576616c7565034b6579074578616d706c650000fa00ff00000000003d0b686d61"
     "632d7368613235360000006553f100012c0020ef61b71e26b916080376448c031b1225b7fc79d96793a81f3462"
     "8252a7b4e94b234500000000",
     "2345a8000001000000000001076578616d706c65036e65740000060001034b6579074578616d706c650000fa00"
     "ff00000000003d0b686d61632d7368613235360000006553f100012c00202819ae945013ddae11f684b7bb8cd2"
     "ce7a72218bb1200c4be4c1785bd177169d234500000000"},
    {"hmac-sha384",
     "234528000001000000010001076578616d706c65036e657400000600010f5f61636d652d6368616c6c656e6765"
     "c00c001000010000003c00060576616c7565034b6579074578616d706c650000fa00ff00000000004d0b686d61"
     "632d7368613338340000006553f100012c003097617494eade67b7134129de6ef41a6c6be975a7eacf6a5af272"
     "fa5adc4f6ce9a15f1b3fcfd7324e7a66a26e504e29a4234500000000",
     "2345a8000001000000000001076578616d706c65036e65740000060001034b6579074578616d706c650000fa00"
     "ff00000000004d0b686d61632d7368613338340000006553f100012c0030ec3c40cbee143c6f99346b936ce14e"
     "d18138c65bc722f0ef62d3731bdd1f4e13d937e9868cb33154c36cc7a6c49d0ccb234500000000"},
    {"hmac-sha512",
     "234528000001000000010001076578616d706c65036e657400000600010f5f61636d652d6368616c6c656e6765"
     "c00c001000010000003c00060576616c7565034b6579074578616d706c650000fa00ff00000000005d0b686d61"
     "632d7368613531320000006553f100012c00405847f9b9a3cec477b29bf54a89e77b839a28f96af98a2c85ac2c"
     "2646884c3b878ce2d043eb86428acedae81fe3ef662f4e9bea94fc4013166739bdcf7ccdf2ef234500000000",
     "2345a8000001000000000001076578616d706c65036e65740000060001034b6579074578616d706c650000fa00"
     "ff00000000005d0b686d61632d7368613531320000006553f100012c0040dc290ce7273f2932b65253f40de44e"
     "1bb78c4f32a8f0722ed05b93e88362f99625b4a94db2b086cb17247e4646a99104fb44f8ffabbab1c53576c340"
     "568c987f234500000000"},
};
constexpr const char* kBadTime =
    "2345a8090001000000000001076578616d706c65036e65740000060001034b6579074578616d706c650000fa00"
    "ff0000000000430b686d61632d7368613235360000006553f100012c00200d227129f3bb31d3049c81976a124b"
    "b2365aedd626d167b005497619be58cf2523450012000600006553f4e8";

Result<> verify(const Bytes& answer, const TsigKey& with, ByteView mac, UnixTime now = kNow) {
  return verify_answer(answer, decode(answer).value(), with, mac, now);
}

TEST(Tsig, SignsAsAnotherImplementationDoes) {
  for (const Vector& vector : kVectors) {
    const SignedMessage made = sign(update(), key(vector.algorithm), kNow);
    EXPECT_EQ(to_hex(made.bytes), vector.request);
    EXPECT_EQ(decode(made.bytes)->tsig->mac, made.mac);
  }
}

TEST(Tsig, AcceptsTheAnswersOfAnotherImplementation) {
  for (const Vector& vector : kVectors) {
    const SignedMessage made = sign(update(), key(vector.algorithm), kNow);
    const auto verified = verify(from_hex(vector.answer).value(), key(vector.algorithm), made.mac);
    EXPECT_TRUE(verified) << verified.error().message;
  }
}

TEST(Tsig, AnyChangedByteIsNoticed) {
  const SignedMessage made = sign(update(), key(), kNow);
  const Bytes answer = from_hex(kVectors[0].answer).value();
  for (size_t i = 0; i < answer.size(); ++i) {
    Bytes changed = answer;
    changed[i] ^= 1;
    const auto message = decode(changed);
    if (!message) continue;
    // The signature covers the original id in its own field, and names without their case.
    if (i < 2) continue;
    EXPECT_FALSE(verify_answer(changed, *message, key(), made.mac, kNow)) << i;
  }
}

TEST(Tsig, TheAnswerBelongsToItsQuery) {
  Bytes mac = sign(update(), key(), kNow).mac;
  mac[0] ^= 1;
  const auto verified = verify(from_hex(kVectors[0].answer).value(), key(), mac);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, ErrorCode::kUnauthorized);
  EXPECT_THAT(verified.error().message, HasSubstr("signature of its answer is wrong"));
}

TEST(Tsig, AnswersFromAnotherTimeAreRefused) {
  const Bytes mac = sign(update(), key(), kNow).mac;
  const Bytes answer = from_hex(kVectors[0].answer).value();
  EXPECT_TRUE(verify(answer, key(), mac, kNow + kTsigFudge));
  EXPECT_TRUE(verify(answer, key(), mac, kNow - kTsigFudge));
  const auto late = verify(answer, key(), mac, kNow + kTsigFudge + std::chrono::seconds(1));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("301 s away"));
}

TEST(Tsig, AnUnsignedAnswerIsRefused) {
  Bytes answer = encode({.header = {.id = 0x2345, .is_response = true}});
  const auto verified = verify(answer, key(), {});
  ASSERT_FALSE(verified);
  EXPECT_THAT(verified.error().message, HasSubstr("not signed with the TSIG key \"Key.Example\""));
}

TEST(Tsig, EachRefusalSaysWhatToDo) {
  const std::pair<Rcode, const char*> refusals[] = {{Rcode::kBadKey, "does not know the TSIG key"},
                                                    {Rcode::kBadSignature, "copy the secret again"},
                                                    {Rcode::kBadTime, "time server"},
                                                    {Rcode::kBadTruncation, "another algorithm"},
                                                    {static_cast<Rcode>(999), "response code 999"}};
  for (const auto& [code, text] : refusals) {
    Message answer = update();
    answer.header.is_response = true;
    answer.tsig =
        Tsig{.key = name("key.example"), .algorithm = name("hmac-sha256"), .fudge = 300, .error = code};
    const auto verified = verify(encode(answer), key(), Bytes(32, 0));
    ASSERT_FALSE(verified);
    EXPECT_EQ(verified.error().code, ErrorCode::kUnauthorized);
    EXPECT_THAT(verified.error().message, HasSubstr(text));
  }
}

TEST(Tsig, ASignedBadTimeNamesTheDifferenceOfTheClocks) {
  const Bytes mac = sign(update(), key(), kNow).mac;
  const auto verified = verify(from_hex(kBadTime).value(), key(), mac);
  ASSERT_FALSE(verified);
  EXPECT_THAT(verified.error().message, HasSubstr("clock is 1000 s behind the server's (BADTIME)"));
}

TEST(TsigKey, SaysWhatIsWrongWithoutTheSecret) {
  EXPECT_THAT(make_tsig_key("a..b", "hmac-sha256", kSecret).error().message, HasSubstr("invalid DNS name"));
  EXPECT_THAT(make_tsig_key("key", "hmac-md5.sig-alg.reg.int", kSecret).error().message,
              HasSubstr("expected hmac-sha256, hmac-sha384 or hmac-sha512"));
  EXPECT_TRUE(make_tsig_key("key", "HMAC-SHA512", kSecret));
  for (const char* secret : {"", "not base64!", "c2VjcmV0LW9m*"}) {
    const auto refused = make_tsig_key("key", "hmac-sha256", secret);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("is not base64"));
    if (*secret) EXPECT_THAT(refused.error().message, Not(HasSubstr(secret)));
  }
}

TEST(TsigKey, IsReadFromAFileOfTsigKeygen) {
  const auto parsed = parse_tsig_key_file(
      "# of the name server\n/* for */ // us\nkey \"Key.Example\" {\n\talgorithm hmac-sha384;\n\tsecret \"" +
      std::string(kSecret) + "\";\n};\n");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->name, name("key.example"));
  EXPECT_EQ(parsed->function, HashFunction::kSha384);
  EXPECT_EQ(to_base64(parsed->secret.expose()), kSecret);
}

TEST(TsigKey, FilesThatAreNoKeyAreNamed) {
  const std::string good = "key k { algorithm hmac-sha256; secret \"" + std::string(kSecret) + "\"; };";
  ASSERT_TRUE(parse_tsig_key_file(good));
  const std::pair<std::string, const char*> bad[] = {
      {"", "has no TSIG key"},
      {"zone \"x\" { type master; };", "has no TSIG key"},
      {"key \"k", "has no TSIG key"},
      {"/* key k {", "has no TSIG key"},
      {"key k { secret \"" + std::string(kSecret) + "\"; };", "lacks its algorithm"},
      {"key k { algorithm hmac-sha256; };", "lacks its algorithm, its secret"},
      {good.substr(0, good.size() - 3), "or its end"},
      {"key k { algorithm ; secret x; };", "lacks"},
      {good + good, "several TSIG keys"},
      {"key k { algorithm hmac-sha1; secret \"" + std::string(kSecret) + "\"; };", "hmac-sha1"},
  };
  for (const auto& [text, fault] : bad) {
    const auto parsed = parse_tsig_key_file(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(parsed.error().message, HasSubstr(fault));
    EXPECT_THAT(parsed.error().message, Not(HasSubstr(kSecret)));
  }
}

}  // namespace
}  // namespace culvert::dns
