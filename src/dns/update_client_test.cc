#include "dns/update_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/testing.h"
#include "dns/testing_server.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using testing::FakeServer;
using ::testing::HasSubstr;
using testing::name;
using namespace std::chrono_literals;

constexpr const char* kName = "_acme-challenge.www.example.net";

Record soa(std::string_view owner) {
  return {.name = name(owner),
          .type = Type::kSoa,
          .ttl = 5,
          .data = Soa{name("ns"), name("mail"), 1, 2, 3, 4, 5}};
}

// A server of example.net without signatures, whose answers a test may change.
struct UpdateClientTest : ::testing::Test {
  std::optional<Bytes> handle(ByteView bytes) {
    const Message query = decode(bytes).value();
    Message answer = testing::answer_to(query);
    if (query.header.opcode == Opcode::kQuery) {
      if (query.questions[0].name.is_within(name("example.net"))) {
        answer.header.rcode = Rcode::kNameError;
        answer.authority = {soa("example.net")};
      } else {
        answer.header.rcode = Rcode::kRefused;
        answer.header.is_authoritative = false;
      }
      if (on_soa) on_soa(answer);
    } else {
      updates.push_back(query);
      if (on_update) on_update(answer);
    }
    return encode(answer);
  }
  UpdateClient client(std::optional<Name> zone = {}) {
    return UpdateClient(loop, {.server = {"127.0.0.1", server.address().port()}, .zone = std::move(zone)});
  }
  Result<> put(std::string value = "value", std::string_view where = kName) {
    UpdateClient publisher = client();
    return run_task(loop, publisher.put(name(where), std::move(value)));
  }

  net::EventLoop loop;
  std::function<void(Message&)> on_soa, on_update;
  std::vector<Message> updates;
  FakeServer server{loop, [this](ByteView bytes, bool) { return handle(bytes); }};
};

TEST_F(UpdateClientTest, AddsAndRemovesOneValue) {
  UpdateClient publisher = client();
  ASSERT_TRUE(run_task(loop, publisher.put(name(kName), "value")));
  ASSERT_TRUE(run_task(loop, publisher.remove(name(kName), "value")));
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_EQ(updates[0].questions, (std::vector<Question>{{name("example.net"), Type::kSoa}}));
  EXPECT_EQ(updates[0].authority, std::vector<Record>{testing::txt(kName, "value", 60)});
  const Record no_alias{
      .name = name(kName), .type = Type::kCname, .record_class = Class::kNone, .data = Opaque{}};
  EXPECT_EQ(updates[0].answers, std::vector<Record>{no_alias});
  EXPECT_TRUE(updates[1].answers.empty());
  Record deletion = testing::txt(kName, "value", 0);
  deletion.record_class = Class::kNone;
  EXPECT_EQ(updates[1].authority, std::vector<Record>{deletion});
}

TEST_F(UpdateClientTest, FindsTheZoneAboveNamesThatTheServerRefuses) {
  on_soa = [](Message& answer) {
    if (answer.questions[0].name != name("example.net"))
      answer = testing::answer_to(answer), answer.header.rcode = Rcode::kRefused;
  };
  EXPECT_TRUE(put());
  EXPECT_EQ(updates.at(0).questions[0].name, name("example.net"));
}

TEST_F(UpdateClientTest, ServersThatHaveNoSuchZoneAreNamed) {
  const auto refused = put("value", "_acme-challenge.example.org");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("DNS update at 127.0.0.1:"));
  EXPECT_THAT(refused.error().message,
              HasSubstr("not authoritative for a zone that has _acme-challenge.example.org"));
  EXPECT_THAT(refused.error().message, HasSubstr("REFUSED"));
  EXPECT_TRUE(updates.empty());
}

// What a resolver says of others' zones.
TEST_F(UpdateClientTest, AnAnswerWithoutAuthorityNamesNoZone) {
  on_soa = [](Message& answer) { answer.header.is_authoritative = false; };
  EXPECT_THAT(put().error().message, HasSubstr("give the primary server of the zone"));
}

TEST_F(UpdateClientTest, AliasesAreRefused) {
  on_update = [](Message& answer) { answer.header.rcode = Rcode::kSetExists; };
  const auto refused = put();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("_acme-challenge.www.example.net is an alias (CNAME)"));
}

// As a wildcard answers, which tells nothing of the name itself.
TEST_F(UpdateClientTest, FindsTheZoneBehindAliases) {
  on_soa = [](Message& answer) {
    if (answer.questions[0].name == name("example.net")) return;
    answer.authority.clear();
    answer.answers = {{.name = answer.questions[0].name,
                       .type = Type::kCname,
                       .data = Cname{name("elsewhere.example.org")}}};
  };
  EXPECT_TRUE(put());
  EXPECT_EQ(updates.at(0).questions[0].name, name("example.net"));
}

TEST_F(UpdateClientTest, AZoneOfTheSettingsIsTaken) {
  UpdateClient publisher = client(name("www.example.net"));
  ASSERT_TRUE(run_task(loop, publisher.put(name(kName), "value")));
  EXPECT_EQ(updates.at(0).questions[0].name, name("www.example.net"));
  EXPECT_EQ(server.over_udp(), 1);
  const auto outside = run_task(loop, publisher.put(name("example.net"), "value"));
  EXPECT_THAT(outside.error().message, HasSubstr("example.net is not in the zone www.example.net"));
}

TEST_F(UpdateClientTest, EachRefusalSaysWhatToDo) {
  const std::tuple<Rcode, ErrorCode, const char*> refusals[] = {
      {Rcode::kRefused, ErrorCode::kUnauthorized, "give a TSIG key"},
      {Rcode::kNotAuthoritative, ErrorCode::kInvalid, "primary server"},
      {Rcode::kNotInZone, ErrorCode::kInvalid, "correct the zone"},
      {Rcode::kNotImplemented, ErrorCode::kInvalid, "hook program"},
      {Rcode::kServerFailure, ErrorCode::kUnavailable, "its log says why"},
      {Rcode::kFormatError, ErrorCode::kUnavailable, "FORMERR"},
      {Rcode::kNameExists, ErrorCode::kUnavailable, "YXDOMAIN"},
  };
  for (const auto& [rcode, code, text] : refusals) {
    on_update = [rcode](Message& answer) { answer.header.rcode = rcode; };
    const auto refused = put();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, code);
    EXPECT_THAT(refused.error().message, HasSubstr(text));
  }
}

TEST_F(UpdateClientTest, ValuesThatNoRecordHasAreRefused) {
  EXPECT_EQ(put("").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(put(std::string(256, 'x')).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(server.over_udp(), 0);
}

TEST_F(UpdateClientTest, ASilentServerIsNamedInTime) {
  FakeServer silent(loop, [](ByteView, bool) { return std::nullopt; });
  UpdateClient publisher(loop, {.server = {"127.0.0.1", silent.address().port()}, .timeout = 300ms});
  const auto refused = run_task(loop, publisher.put(name(kName), "value"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(refused.error().message, HasSubstr("does not answer"));
}

TEST_F(UpdateClientTest, AnswersWithoutASignatureAreRefusedWhereThereIsAKey) {
  UpdateClient publisher(loop, {.server = {"127.0.0.1", server.address().port()},
                                .key = make_tsig_key("key", "hmac-sha256", "c2VjcmV0").value()});
  const auto refused = run_task(loop, publisher.put(name(kName), "value"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
  EXPECT_THAT(refused.error().message, HasSubstr("is not signed with the TSIG key"));
  EXPECT_TRUE(updates.empty());
}

}  // namespace
}  // namespace culvert::dns
