#include "hubapi/entry.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace culvert::hubapi {
namespace {

using Op = EntryChange::Op;

route::HostPattern pattern(std::string_view text) { return route::HostPattern::parse(text).value(); }

TEST(EntryChange, ComesBackAsItWent) {
  const std::vector<EntryChange> changes = {
      {.sequence = 1, .op = Op::kPut, .hostname = pattern("a.eu")},
      {.sequence = 7, .op = Op::kPut, .hostname = pattern("*.a.eu"), .tls_mode = route::TlsMode::kTerminate},
      {.sequence = EntryChange::kMaxPut, .op = Op::kPut, .hostname = pattern("a.eu")},
      {.sequence = EntryChange::kMaxDelete, .op = Op::kDelete, .hostname = pattern("a.eu")},
      {.sequence = EntryChange::kMaxLeave, .op = Op::kLeave}};
  for (const EntryChange& change : changes) {
    auto decoded = decode_entry_change(encode(change));
    ASSERT_TRUE(decoded) << encode(change) << ": " << decoded.error().message;
    EXPECT_EQ(*decoded, change);
  }
  EXPECT_EQ(encode(changes[1]), R"({"sequence":7,"op":"put","hostname":"*.a.eu","tls_mode":"terminate"})");
  EXPECT_EQ(decode_entry_change(R"({"sequence":1,"op":"put","hostname":"A.Eu"})")->hostname, pattern("a.eu"));
}

TEST(EntryChange, RefusesWhatIsWrongAndNamesIt) {
  const struct {
    const char* json;
    const char* names;
  } cases[] = {
      {"", "the entry"},
      {"[]", "not a JSON object"},
      {R"({"op":"put","hostname":"a.eu"})", "sequence"},
      {R"({"sequence":0,"op":"put","hostname":"a.eu"})", "sequence"},
      {R"({"sequence":-1,"op":"put","hostname":"a.eu"})", "sequence"},
      {R"({"sequence":"1","op":"put","hostname":"a.eu"})", "sequence"},
      {R"({"sequence":9223372036854775808,"op":"put","hostname":"a.eu"})", "sequence"},
      {R"({"sequence":4611686018427387905,"op":"put","hostname":"a.eu"})", "the highest of put"},
      {R"({"sequence":9223372036854775807,"op":"delete","hostname":"a.eu"})", "the highest of delete"},
      {R"({"sequence":9223372036854775808,"op":"leave"})", "sequence"},
      {R"({"sequence":1,"hostname":"a.eu"})", "op"},
      {R"({"sequence":1,"op":"put"})", "hostname"},
      {R"({"sequence":1,"op":"put","hostname":"eu"})", "one label"},
      {R"({"sequence":1,"op":"put","hostname":"a.eu","tls_mode":"http"})", "http"},
      {R"({"sequence":1,"op":"delete","hostname":"a.eu","tls_mode":"terminate"})", "tls_mode"},
      {R"({"sequence":1,"op":"leave","hostname":"a.eu"})", "leave"},
      {R"({"sequence":1,"op":"put","hostname":"a.eu","agent":"x"})", "agent"},
      {R"({"sequence":1,"sequence":2,"op":"put","hostname":"a.eu"})", "sequence"},
  };
  for (const auto& each : cases) {
    auto decoded = decode_entry_change(each.json);
    ASSERT_FALSE(decoded) << each.json;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
    EXPECT_NE(decoded.error().message.find(each.names), std::string::npos) << decoded.error().message;
  }
}

TEST(EntryChange, AnOpOfALaterVersionIsToldApartFromAMistake) {
  for (const char* body :
       {R"({"sequence":1,"op":"upsert","hostname":"a.eu"})",
        R"({"sequence":1,"op":"move","hostname":"a.eu","to":"b.eu"})", R"({"op":"Put","hostname":"a.eu"})"}) {
    auto decoded = decode_entry_change(body);
    ASSERT_FALSE(decoded) << body;
    EXPECT_EQ(decoded.error().code, ErrorCode::kConflict);
    EXPECT_NE(decoded.error().message.find("expected put, delete or leave"), std::string::npos);
  }
}

TEST(EntryChange, TheChallengeNamesTheDomainAndTheTenant) {
  EXPECT_EQ(challenge_name(pattern("shop.example.eu")), "_culvert-challenge.shop.example.eu");
  EXPECT_EQ(challenge_name(pattern("*.shop.eu")), "_culvert-challenge.shop.eu");
  const PublicKey tenant = SecretKey::from_seed(Bytes(32, 1)).value().public_key();
  EXPECT_EQ(challenge_value(tenant), "culvert-tenant=" + tenant.to_string());
}

}  // namespace
}  // namespace culvert::hubapi
