#include "dns/message.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "dns/testing.h"

namespace culvert::dns {
namespace {

using testing::name;
using testing::query;

Bytes hex(std::string_view text) {
  std::string digits(text);
  std::erase(digits, ' ');
  return from_hex(digits).value();
}

Message full_message() {
  Message message = query("www.Example.net", Type::kTxt);
  message.header.is_response = true;
  message.header.is_authoritative = true;
  message.header.recursion_desired = true;
  message.header.checking_disabled = true;
  message.answers = {
      testing::txt("www.Example.net", "one"),
      {.name = name("www.Example.net"), .type = Type::kTxt, .ttl = 5, .data = Txt{{"a", "", "b"}}},
      {.name = name("alias.example.net"),
       .type = Type::kCname,
       .ttl = 5,
       .data = Cname{name("www.Example.net")}},
      {.name = name("Example.net"), .type = Type::kCaa, .data = Caa{128, "issue", "ca.example; a=b"}}};
  message.authority = {{.name = name("Example.net"),
                        .type = Type::kSoa,
                        .ttl = 5,
                        .data = Soa{name("ns.Example.net"), name("hostmaster.Example.net"), 1, 2, 3, 4, 5}},
                       {.name = name("Example.net"), .type = Type::kNs, .data = Ns{name("ns.Example.net")}}};
  message.additional = {
      testing::address("ns.Example.net", {192, 0, 2, 1}),
      {.name = name("ns.Example.net"), .type = Type::kAaaa, .data = Aaaa{{0x20, 1, 0xd, 0xb8}}},
      {.name = name("x"), .type = static_cast<Type>(999), .data = Opaque{{1, 2, 3}}}};
  message.edns =
      Edns{.udp_size = 1232, .dnssec_ok = true, .options = {{10, {1, 2, 3, 4, 5, 6, 7, 8}}, {3, {}}}};
  message.tsig = Tsig{.key = name("key"),
                      .algorithm = name("hmac-sha256"),
                      .time_signed = 0x123456789abc,
                      .fudge = 300,
                      .mac = Bytes(32, 7),
                      .original_id = 9,
                      .error = Rcode::kBadTime,
                      .other = {1, 2, 3, 4, 5, 6}};
  return message;
}

TEST(DnsMessage, AQueryHasTheBytesOfRfc1035) {
  Message message = query("example.net", Type::kTxt, 0xabcd);
  message.header.recursion_desired = true;
  const Bytes bytes = encode(message);
  EXPECT_EQ(to_hex(bytes),
            to_hex(hex("abcd 0100 0001 0000 0000 0000 07 6578616d706c65 03 6e6574 00 0010 0001")));
  EXPECT_EQ(decode(bytes), message);
}

// Pointers into the question and into the data of a record.
TEST(DnsMessage, ACompressedAnswerIsRead) {
  const Bytes bytes =
      hex("1234 8400 0001 0001 0000 0001"
          "03 777777 07 6578616d706c65 00 0001 0001"
          "c00c 0005 0001 0000003c 0007 04 6d61696c c010"
          "c029 0001 0001 0000003c 0004 c0000201");
  const auto message = decode(bytes);
  ASSERT_TRUE(message) << message.error().message;
  EXPECT_EQ(message->answers.at(0).name, name("www.example"));
  EXPECT_EQ(std::get<Cname>(message->answers[0].data).target, name("mail.example"));
  EXPECT_EQ(message->additional.at(0).name, name("mail.example"));
  EXPECT_EQ(std::get<A>(message->additional[0].data).ip, (std::array<uint8_t, 4>{192, 0, 2, 1}));
  EXPECT_EQ(encode(*message), bytes);
}

TEST(DnsMessage, EverythingRoundTrips) {
  const Message message = full_message();
  const Bytes bytes = encode(message);
  const auto again = decode(bytes);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, message);
  EXPECT_EQ(again->questions[0].name.wire(), message.questions[0].name.wire());  // with its case
  EXPECT_EQ(encode(*again), bytes);
  const auto tsig = find_tsig(bytes);
  ASSERT_TRUE(tsig);
  EXPECT_EQ(bytes[*tsig], 3);  // "key"
}

TEST(DnsMessage, AnUpdateHasDeletionsWithoutData) {
  Message message = query("example.net", Type::kSoa);
  message.header.opcode = Opcode::kUpdate;
  message.authority = {
      {.name = name("a.example.net"), .type = Type::kTxt, .record_class = Class::kAny, .data = Opaque{}},
      {.name = name("a.example.net"),
       .type = Type::kTxt,
       .record_class = Class::kNone,
       .data = Txt{{"value"}}}};
  const auto again = decode(encode(message));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, message);
}

// RFC 6891, 6.1.3.
TEST(DnsMessage, EdnsExtendsTheResponseCode) {
  Message message = query("example.net", Type::kTxt);
  message.header.is_response = true;
  message.header.rcode = Rcode::kBadVersion;
  message.edns = Edns{};
  const Bytes bytes = encode(message);
  EXPECT_EQ(bytes[3] & 15, 0);
  EXPECT_EQ(decode(bytes)->header.rcode, Rcode::kBadVersion);
}

TEST(DnsMessage, AdditionalRecordsGoFirstWhereSpaceIsShort) {
  Message message = query("example.net", Type::kTxt);
  message.edns = Edns{.udp_size = 1232};
  for (uint8_t i = 0; i < 40; ++i)
    message.additional.push_back(testing::address("ns.example.net", {10, 0, 0, i}));
  message.answers = {testing::txt("example.net", std::string(200, 'x'))};
  const auto cut = decode(encode(message, 512));
  ASSERT_TRUE(cut);
  EXPECT_FALSE(cut->header.is_truncated);
  EXPECT_EQ(cut->answers, message.answers);
  EXPECT_TRUE(cut->additional.empty());
  EXPECT_EQ(cut->edns, message.edns);
}

TEST(DnsMessage, AnAnswerThatDoesNotFitIsTruncated) {
  Message message = query("example.net", Type::kTxt);
  message.header.is_response = true;
  message.edns = Edns{.udp_size = 1232};
  for (int i = 0; i < 4; ++i) message.answers.push_back(testing::txt("example.net", std::string(200, 'x')));
  const Bytes bytes = encode(message, 512);
  const auto cut = decode(bytes);
  ASSERT_TRUE(cut);
  EXPECT_TRUE(cut->header.is_truncated);
  EXPECT_EQ(cut->questions, message.questions);
  EXPECT_TRUE(cut->answers.empty());
  EXPECT_EQ(cut->edns, message.edns);
  EXPECT_EQ(decode(encode(message, 1232)), message);
}

TEST(DnsMessage, EveryCutIsRefused) {
  const Bytes bytes = encode(full_message());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(decode(cut)) << size;
    EXPECT_EQ(decode_header(cut).has_value(), size >= kHeaderSize);
  }
}

TEST(DnsMessage, MalformedMessagesAreNamed) {
  const std::string question = "01 61 00 0010 0001 ";
  const std::pair<std::string, const char*> bad[] = {
      {"1234 0000 0001 0000 0000 0000" + question + "00", "behind the last record"},
      {"1234 0000 0002 0000 0000 0000" + question, "the question"},
      {"1234 0000 0001 0001 0000 0000" + question, "ends early"},
      {"1234 0000 ffff ffff ffff ffff" + question, "the question"},
      // A of 3 bytes, AAAA of 4, NS with bytes behind its name, SOA without its last number.
      {"1234 0000 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203", "type 1"},
      {"1234 0000 0000 0001 0000 0000 00 001c 0001 00000000 0004 01020304", "type 28"},
      {"1234 0000 0000 0001 0000 0000 00 0002 0001 00000000 0002 0000", "type 2"},
      {"1234 0000 0000 0001 0000 0000 00 0002 0001 00000000 0001 01 6100", "type 2"},
      {"1234 0000 0000 0001 0000 0000 00 0006 0001 00000000 0012 0000 00000001000000020000000300000004",
       "type 6"},
      // TXT without a string and with one that is longer than the record; CAA without a tag.
      {"1234 0000 0000 0001 0000 0000 00 0010 0001 00000000 0000", "type 16"},
      {"1234 0000 0000 0001 0000 0000 00 0010 0001 00000000 0002 0261", "type 16"},
      {"1234 0000 0000 0001 0000 0000 00 0101 0001 00000000 0002 0000", "type 257"},
      // OPT: two of them, one below a name, one among the answers, an option that ends early.
      {"1234 0000 0000 0000 0000 0002 00 0029 0200 00000000 0000 00 0029 0200 00000000 0000", "two OPT"},
      {"1234 0000 0000 0000 0000 0001 01 61 00 0029 0200 00000000 0000", "not at the root"},
      {"1234 0000 0000 0001 0000 0000 00 0029 0200 00000000 0000", "outside"},
      {"1234 0000 0000 0000 0000 0001 00 0029 0200 00000000 0005 000a 0008 01", "option"},
      // TSIG: before another record, of class IN, with a MAC that is longer than the record.
      {"1234 0000 0000 0000 0000 0002 00 00fa 00ff 00000000 0000 00 0029 0200 00000000 0000", "not the last"},
      {"1234 0000 0000 0000 0000 0001 00 00fa 0001 00000000 0000", "class or TTL"},
      {"1234 0000 0000 0000 0000 0001 00 00fa 00ff 00000000 0000", "algorithm"},
      {"1234 0000 0000 0000 0000 0001 00 00fa 00ff 00000000 000c 00 000000000000 0000 ffff 00", "TSIG"},
  };
  for (const auto& [text, fault] : bad) {
    const auto decoded = decode(hex(text));
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
    EXPECT_NE(decoded.error().message.find(fault), std::string::npos)
        << text << ": " << decoded.error().message;
  }
}

TEST(DnsMessage, RdataThatPointsBehindItsEndIsRefused) {
  // The name of NS ends in the record after it.
  EXPECT_FALSE(
      decode(hex("1234 0000 0000 0002 0000 0000"
                 "00 0002 0001 00000000 0002 05 61"
                 "00 0001 0001 00000000 0004 01020304")));
}

}  // namespace
}  // namespace culvert::dns
