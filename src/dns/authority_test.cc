#include "dns/authority.h"

#include <gtest/gtest.h>

#include "base/metrics.h"
#include "dns/testing.h"

namespace culvert::dns {
namespace {

using testing::name;
using testing::query;
using Transport = Authority::Transport;

constexpr const char* kApex = "_acme-challenge.example.net";

struct AuthorityTest : ::testing::Test {
  AuthorityTest() {
    EXPECT_TRUE(authority.add(zone(kApex)));
    EXPECT_TRUE(authority.find(name(kApex))->put(name(kApex), std::string(43, 'v')));
  }
  static Zone zone(std::string_view apex) {
    return Zone::make({.apex = name(apex),
                       .name_servers = {name("example.net")},
                       .contact = name("hostmaster.example.net")})
        .value();
  }
  Message ask(const Message& message, Transport transport = Transport::kUdp) {
    const auto response = authority.answer(encode(message), transport);
    EXPECT_TRUE(response);
    return decode(*response).value();
  }

  Authority authority;
};

TEST_F(AuthorityTest, AnswersWithAuthority) {
  Message asked = query("_ACME-challenge.example.net", Type::kTxt, 77);
  asked.header.recursion_desired = true;
  const Message response = ask(asked);
  EXPECT_EQ(response.header.id, 77);
  EXPECT_TRUE(response.header.is_response);
  EXPECT_TRUE(response.header.is_authoritative);
  EXPECT_TRUE(response.header.recursion_desired);
  EXPECT_FALSE(response.header.recursion_available);
  EXPECT_EQ(response.questions.at(0).name.wire(), asked.questions[0].name.wire());
  EXPECT_EQ(response.answers.size(), 1u);
  EXPECT_FALSE(response.edns);
  EXPECT_EQ(authority.counters().answered, 1u);
}

TEST_F(AuthorityTest, RefusesWhatIsNotItsOwn) {
  const Message asked[] = {
      query("example.net", Type::kTxt), query("x.org", Type::kA),  query(".", Type::kNs),
      query(kApex, Type::kAxfr),        query(kApex, Type::kIxfr), query(kApex, static_cast<Type>(249))};
  for (const Message& each : asked) {
    const Message response = ask(each);
    EXPECT_EQ(response.header.rcode, Rcode::kRefused);
    EXPECT_FALSE(response.header.is_authoritative);
    EXPECT_TRUE(response.answers.empty() && response.authority.empty());
  }
  Message chaos = query(kApex, Type::kTxt);
  chaos.questions[0].question_class = static_cast<Class>(3);
  EXPECT_EQ(ask(chaos).header.rcode, Rcode::kRefused);
  EXPECT_EQ(authority.counters().refused, std::size(asked) + 1);
}

TEST_F(AuthorityTest, TheClosestZoneAnswers) {
  ASSERT_TRUE(authority.add(zone("example.net")));
  ASSERT_TRUE(authority.add(zone("sub._acme-challenge.example.net")));
  EXPECT_EQ(authority.find(name("a.example.net"))->apex(), name("example.net"));
  EXPECT_EQ(authority.find(name("a._acme-challenge.example.net"))->apex(), name(kApex));
  EXPECT_EQ(authority.find(name("a.sub._acme-challenge.example.net"))->apex(),
            name("sub._acme-challenge.example.net"));
  EXPECT_EQ(authority.find(name("net")), nullptr);
  EXPECT_EQ(authority.add(zone("EXAMPLE.net")).error().code, ErrorCode::kConflict);
}

TEST_F(AuthorityTest, OtherOpcodesAndQuestionsAreTold) {
  for (const int opcode : {1, 2, 4, 5, 15}) {
    Message asked = query(kApex, Type::kSoa);
    asked.header.opcode = static_cast<Opcode>(opcode);
    const Message response = ask(asked);
    EXPECT_EQ(response.header.rcode, Rcode::kNotImplemented);
    EXPECT_EQ(response.header.opcode, asked.header.opcode);
  }
  Message two = query(kApex, Type::kTxt);
  two.questions.push_back(two.questions[0]);
  EXPECT_EQ(ask(two).header.rcode, Rcode::kFormatError);
  Message none = query(kApex, Type::kTxt);
  none.questions.clear();
  EXPECT_EQ(ask(none).header.rcode, Rcode::kFormatError);
  Bytes cut = encode(query(kApex, Type::kTxt));
  cut.pop_back();
  EXPECT_EQ(decode(*authority.answer(cut, Transport::kUdp))->header.rcode, Rcode::kFormatError);
  EXPECT_EQ(authority.counters().format_error, 3u);
  EXPECT_EQ(authority.counters().not_implemented, 5u);
}

TEST_F(AuthorityTest, GarbageAndAnswersGetNoAnswer) {
  EXPECT_FALSE(authority.answer({}, Transport::kUdp));
  EXPECT_FALSE(authority.answer(Bytes(11, 0), Transport::kUdp));
  Message answer = query(kApex, Type::kTxt);
  answer.header.is_response = true;
  EXPECT_FALSE(authority.answer(encode(answer), Transport::kUdp));
  EXPECT_FALSE(Authority::truncated(encode(answer)));
  EXPECT_FALSE(Authority::truncated(Bytes(11, 0)));
  EXPECT_EQ(authority.counters().ignored, 3u);
}

TEST_F(AuthorityTest, Edns) {
  Message asked = query(kApex, Type::kTxt);
  asked.edns = Edns{.udp_size = 4096, .dnssec_ok = true, .options = {{10, Bytes(8, 1)}}};
  const Message response = ask(asked);
  ASSERT_TRUE(response.edns);
  EXPECT_EQ(*response.edns, (Edns{.udp_size = kMaxUdpSize, .dnssec_ok = true}));
  asked.edns->version = 1;
  const Message bad_version = ask(asked);
  EXPECT_EQ(bad_version.header.rcode, Rcode::kBadVersion);
  EXPECT_EQ(bad_version.edns->version, 0);
  EXPECT_TRUE(bad_version.answers.empty());
  EXPECT_EQ(authority.counters().bad_version, 1u);
}

TEST_F(AuthorityTest, SignedQueriesAreToldThatNoKeyIsShared) {
  Message asked = query(kApex, Type::kTxt);
  asked.tsig = Tsig{.key = name("key"),
                    .algorithm = name("hmac-sha256"),
                    .time_signed = 1,
                    .fudge = 300,
                    .mac = Bytes(32, 1),
                    .original_id = 0x1234};
  const Message response = ask(asked);
  EXPECT_EQ(response.header.rcode, Rcode::kNotAuthoritative);
  ASSERT_TRUE(response.tsig);
  EXPECT_EQ(response.tsig->error, Rcode::kBadKey);
  EXPECT_TRUE(response.tsig->mac.empty());
}

TEST_F(AuthorityTest, AnswersOverUdpAreBounded) {
  Zone& zone = *authority.find(name(kApex));
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(zone.put(name(kApex), std::string(43, static_cast<char>('a' + i))));
  Message asked = query(kApex, Type::kTxt);
  EXPECT_TRUE(ask(asked).header.is_truncated);
  EXPECT_EQ(ask(asked, Transport::kTcp).answers.size(), 11u);
  asked.edns = Edns{.udp_size = 512};
  EXPECT_TRUE(ask(asked).header.is_truncated);
  asked.edns = Edns{.udp_size = 1232};
  EXPECT_FALSE(ask(asked).header.is_truncated);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(zone.put(name(kApex), std::string(255, static_cast<char>('a' + i))));
  asked.edns = Edns{.udp_size = 65535};
  EXPECT_TRUE(ask(asked).header.is_truncated);
  EXPECT_EQ(ask(asked, Transport::kTcp).answers.size(), 16u);
}

TEST_F(AuthorityTest, AllValuesOfAcmeFitUdp) {
  const Name longest = name(std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') +
                            "." + std::string(33, 'd') + "." + kApex);
  EXPECT_EQ(longest.wire().size(), Name::kMaxSize);
  for (size_t i = 0; i < Zone::kMaxValues; ++i)
    ASSERT_TRUE(authority.find(longest)->put(longest, std::string(43, static_cast<char>('a' + i))));
  Message asked = query(longest.to_string(), Type::kTxt);
  asked.edns = Edns{.udp_size = 1232};
  EXPECT_FALSE(ask(asked).header.is_truncated);
}

TEST_F(AuthorityTest, CountersAreReported) {
  ask(query(kApex, Type::kTxt));
  ask(query("x.org", Type::kTxt));
  Metrics metrics;
  report(authority.counters(), metrics);
  report(ServerCounters{.udp_queries = 2}, metrics);
  const std::string text = metrics.to_text();
  EXPECT_NE(text.find("culvert_dns_answers_total{result=\"refused\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("culvert_dns_queries_total{transport=\"udp\"} 2"), std::string::npos) << text;
}

}  // namespace
}  // namespace culvert::dns
