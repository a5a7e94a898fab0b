#include "dns/zone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/testing.h"

namespace culvert::dns {
namespace {

using ::testing::HasSubstr;
using testing::name;

constexpr const char* kApex = "_acme-challenge.example.net";

ZoneOptions options() {
  return {.apex = name(kApex),
          .name_servers = {name("example.net"), name("ns2._acme-challenge.example.net")},
          .contact = name("hostmaster.example.net"),
          .records =
              {testing::address("ns2._acme-challenge.example.net", {192, 0, 2, 2}),
               {.name = name(kApex), .type = Type::kCaa, .ttl = 300, .data = Caa{0, "issue", "ca.example"}}},
          .serial = 7};
}

struct ZoneTest : ::testing::Test {
  Message ask(std::string_view text, Type type) {
    Message response;
    zone.answer({name(text), type}, response);
    return response;
  }
  void expect_negative(const Message& response, Rcode rcode) {
    EXPECT_EQ(response.header.rcode, rcode);
    EXPECT_TRUE(response.answers.empty());
    ASSERT_EQ(response.authority.size(), 1u);
    EXPECT_EQ(response.authority[0].name, name(kApex));
    EXPECT_EQ(response.authority[0].type, Type::kSoa);
    EXPECT_EQ(std::get<Soa>(response.authority[0].data).minimum, Zone::kNegativeTtl);
  }
  static std::vector<std::string> values(const Message& response) {
    std::vector<std::string> out;
    for (const Record& record : response.answers) out.push_back(std::get<Txt>(record.data).strings.at(0));
    return out;
  }

  Zone zone = Zone::make(options()).value();
};

TEST_F(ZoneTest, SeveralValuesOfANameStandBesideEachOther) {
  ASSERT_TRUE(zone.put(name(kApex), "one"));
  ASSERT_TRUE(zone.put(name(kApex), "two"));
  ASSERT_TRUE(zone.put(name(kApex), "two"));
  EXPECT_EQ(values(ask(kApex, Type::kTxt)), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(ask(kApex, Type::kTxt).answers[0].ttl, Zone::kValueTtl);
  zone.remove(name(kApex), "one");
  EXPECT_EQ(values(ask(kApex, Type::kTxt)), std::vector<std::string>{"two"});
  zone.remove(name(kApex), "two");
  zone.remove(name(kApex), "two");
  expect_negative(ask(kApex, Type::kTxt), Rcode::kNoError);
}

TEST_F(ZoneTest, TheSerialRisesWithEachChangeAndOnlyThen) {
  ASSERT_TRUE(zone.put(name(kApex), "one"));
  EXPECT_EQ(zone.serial(), 8u);
  ASSERT_TRUE(zone.put(name(kApex), "one"));
  EXPECT_EQ(zone.serial(), 8u);
  zone.remove(name(kApex), "other");
  EXPECT_EQ(zone.serial(), 8u);
  zone.remove(name(kApex), "one");
  EXPECT_EQ(std::get<Soa>(ask(kApex, Type::kSoa).answers.at(0).data).serial, 9u);
}

TEST_F(ZoneTest, TheApexHasSoaNsAndCaa) {
  const Message soa = ask(kApex, Type::kSoa);
  ASSERT_EQ(soa.answers.size(), 1u);
  EXPECT_EQ(std::get<Soa>(soa.answers[0].data).primary, name("example.net"));
  EXPECT_EQ(std::get<Soa>(soa.answers[0].data).contact, name("hostmaster.example.net"));
  EXPECT_TRUE(soa.authority.empty());
  const Message ns = ask(kApex, Type::kNs);
  ASSERT_EQ(ns.answers.size(), 2u);
  EXPECT_EQ(std::get<Ns>(ns.answers[0].data).server, name("example.net"));
  ASSERT_EQ(ns.additional.size(), 1u);  // the address of the server that is in the zone
  EXPECT_EQ(ns.additional[0].name, name("ns2._acme-challenge.example.net"));
  const Message caa = ask(kApex, Type::kCaa);
  ASSERT_EQ(caa.answers.size(), 1u);
  EXPECT_EQ(std::get<Caa>(caa.answers[0].data).value, "ca.example");
}

// RFC 2308, 2.1 and 2.2; and RFC 8020: a name with children exists.
TEST_F(ZoneTest, TellsNamesThatExistFromOthers) {
  expect_negative(ask(kApex, Type::kAaaa), Rcode::kNoError);
  expect_negative(ask("other._acme-challenge.example.net", Type::kTxt), Rcode::kNameError);
  ASSERT_TRUE(zone.put(name("a.b._acme-challenge.example.net"), "deep"));
  expect_negative(ask("b._acme-challenge.example.net", Type::kTxt), Rcode::kNoError);
  expect_negative(ask("b._acme-challenge.example.net", Type::kNs), Rcode::kNoError);
  expect_negative(ask("a.b._acme-challenge.example.net", Type::kNs), Rcode::kNoError);
  expect_negative(ask("b.b._acme-challenge.example.net", Type::kTxt), Rcode::kNameError);
  zone.remove(name("a.b._acme-challenge.example.net"), "deep");
  expect_negative(ask("b._acme-challenge.example.net", Type::kTxt), Rcode::kNameError);
  expect_negative(ask("ns2._acme-challenge.example.net", Type::kTxt), Rcode::kNoError);
}

TEST_F(ZoneTest, AnswersInTheCaseOfTheQuestion) {
  ASSERT_TRUE(zone.put(name(kApex), "one"));
  const Message found = ask("_aCmE-cHaLlEnGe.eXaMpLe.NeT", Type::kTxt);
  ASSERT_EQ(found.answers.size(), 1u);
  EXPECT_EQ(found.answers[0].name.wire(), name("_aCmE-cHaLlEnGe.eXaMpLe.NeT").wire());
  const Message missing = ask("x._aCmE-cHaLlEnGe.eXaMpLe.NeT", Type::kTxt);
  EXPECT_EQ(missing.authority.at(0).name.wire(), name("_aCmE-cHaLlEnGe.eXaMpLe.NeT").wire());
}

// A whole domain may be delegated, with records for all of its names.
TEST(ZoneWildcard, StandsForNamesThatAreNotGiven) {
  Zone zone = Zone::make({.apex = name("example.net"),
                          .name_servers = {name("ns.example.net")},
                          .contact = name("hostmaster.example.net"),
                          .records = {testing::address("*.example.net", {192, 0, 2, 1}),
                                      testing::address("given.example.net", {192, 0, 2, 2}),
                                      testing::address("a.below.example.net", {192, 0, 2, 3})}})
                  .value();
  const auto ask = [&](std::string_view text, Type type) {
    Message response;
    zone.answer({name(text), type}, response);
    return response;
  };
  const auto last_byte = [&](std::string_view text) {
    const Message response = ask(text, Type::kA);
    return response.answers.empty() ? 0 : std::get<A>(response.answers[0].data).ip[3];
  };
  EXPECT_EQ(last_byte("app.example.net"), 1);
  EXPECT_EQ(last_byte("deep.app.example.net"), 1);
  EXPECT_EQ(last_byte("*.example.net"), 1);
  EXPECT_EQ(ask("App.example.net", Type::kA).answers[0].name.wire(), name("App.example.net").wire());
  EXPECT_EQ(last_byte("given.example.net"), 2);
  // RFC 4592, 2.2.2: these have an ancestor that is closer than the wildcard's.
  EXPECT_EQ(ask("x.given.example.net", Type::kA).header.rcode, Rcode::kNameError);
  EXPECT_EQ(ask("x.below.example.net", Type::kA).header.rcode, Rcode::kNameError);
  EXPECT_EQ(ask("below.example.net", Type::kA).header.rcode, Rcode::kNoError);
  EXPECT_EQ(last_byte("below.example.net"), 0);
  EXPECT_EQ(ask("example.net", Type::kA).header.rcode, Rcode::kNoError);
  EXPECT_EQ(last_byte("example.net"), 0);
  const Message other_type = ask("app.example.net", Type::kAaaa);
  EXPECT_EQ(other_type.header.rcode, Rcode::kNoError);
  EXPECT_EQ(other_type.authority.size(), 1u);
  // The site stays where it is while its certificate is renewed.
  ASSERT_TRUE(zone.put(name("_acme-challenge.app.example.net"), "value"));
  EXPECT_EQ(ask("_acme-challenge.app.example.net", Type::kTxt).answers.size(), 1u);
  EXPECT_EQ(last_byte("app.example.net"), 1);
  EXPECT_EQ(last_byte("other.app.example.net"), 1);
}

// RFC 8482, 4.2.
TEST_F(ZoneTest, AnyGetsOneSmallRecord) {
  ASSERT_TRUE(zone.put(name(kApex), "one"));
  const Message any = ask(kApex, Type::kAny);
  ASSERT_EQ(any.answers.size(), 1u);
  EXPECT_EQ(any.answers[0].type, Type::kHinfo);
  EXPECT_EQ(as_text(std::get<Opaque>(any.answers[0].data).bytes), std::string_view("\7RFC8482\0", 9));
  expect_negative(ask("x._acme-challenge.example.net", Type::kAny), Rcode::kNameError);
}

TEST_F(ZoneTest, ValuesAreBounded) {
  const auto outside = zone.put(name("example.net"), "v");
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(outside.error().message,
              HasSubstr("example.net is not in the DNS zone _acme-challenge.example.net"));
  EXPECT_EQ(zone.put(name(kApex), "").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(zone.put(name(kApex), std::string(256, 'x')).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(zone.put(name(kApex), std::string(255, 'x')));
  for (size_t i = 1; i < Zone::kMaxValues; ++i) ASSERT_TRUE(zone.put(name(kApex), std::to_string(i)));
  EXPECT_EQ(zone.put(name(kApex), "one more").error().code, ErrorCode::kLimit);
}

TEST_F(ZoneTest, NamesAreBounded) {
  const auto numbered = [](size_t i) { return name(std::to_string(i) + "._acme-challenge.example.net"); };
  for (size_t i = 0; i < Zone::kMaxNames; ++i) ASSERT_TRUE(zone.put(numbered(i), "v"));
  EXPECT_EQ(zone.put(numbered(Zone::kMaxNames), "v").error().code, ErrorCode::kLimit);
  EXPECT_TRUE(zone.put(numbered(0), "another"));
  zone.remove(numbered(1), "v");
  EXPECT_TRUE(zone.put(numbered(Zone::kMaxNames), "v"));
}

TEST(Zone, SaysWhatItDoesNotTake) {
  ZoneOptions without_server = options();
  without_server.name_servers.clear();
  EXPECT_THAT(Zone::make(without_server).error().message, HasSubstr("no name server"));
  ZoneOptions outside = options();
  outside.records.push_back(testing::address("example.net", {192, 0, 2, 1}));
  EXPECT_THAT(Zone::make(outside).error().message,
              HasSubstr("the record example.net is not in the DNS zone _acme-challenge.example.net"));
  ZoneOptions alias = options();
  alias.records.push_back({.name = name("a._acme-challenge.example.net"),
                           .type = Type::kCname,
                           .data = Cname{name("b.example")}});
  EXPECT_THAT(Zone::make(alias).error().message, HasSubstr("takes A, AAAA, CAA and TXT records"));
}

}  // namespace
}  // namespace culvert::dns
