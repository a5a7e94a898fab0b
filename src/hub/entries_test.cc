// Entries over the API: what tenants give themselves, and what they must prove for it.
#include "hub/entry_handlers.h"

#include "hub/api_fixture.h"
#include "hub/invite_record.h"
#include "net/resolver.h"
#include "net/testing_dns.h"

namespace culvert::hub {
namespace {

using namespace net::testing;
using Op = hubapi::EntryChange::Op;

class EntriesTest : public ApiTest {
 protected:
  EntriesTest()
      : dns_(loop_, [this](const std::string& name, uint16_t type) -> DnsReply {
          if (dns_is_silent_) return {.is_silent = true};
          DnsReply reply;
          for (const DnsRecord& record : zone_) {
            if (record.name == name && record.type == type) reply.records.push_back(record);
          }
          return reply;
        }) {
    net::configure_resolver(
        loop_, {.servers = dns_.address(), .resolv_conf = "/nonexistent", .hosts = "/nonexistent"});
  }

  http::Response post(const SecretKey& key, std::string body, std::string_view tag = hubapi::kEntryTag) {
    http::Request request{.method = "POST", .target = "/v1/entries", .headers = {}, .body = std::move(body)};
    http::sign_request(request, key, tag, g_wall, random_);
    return handle(std::move(request));
  }
  http::Response change(const hubapi::InviteToken& token, uint64_t sequence, Op op, std::string_view hostname,
                        std::optional<route::TlsMode> mode = std::nullopt) {
    now_ += 10s;
    return post(token.tenant_key, hubapi::encode({.sequence = sequence,
                                                  .op = op,
                                                  .hostname = route::HostPattern::parse(hostname).value(),
                                                  .tls_mode = mode}));
  }
  http::Response put(const hubapi::InviteToken& token, uint64_t sequence, std::string_view hostname,
                     std::optional<route::TlsMode> mode = std::nullopt) {
    return change(token, sequence, Op::kPut, hostname, mode);
  }
  http::Response list(const SecretKey& key, std::string target = "/v1/entries") {
    http::Request request{.method = "GET", .target = std::move(target), .headers = {}, .body = {}};
    http::sign_request(request, key, hubapi::kEntriesTag, g_wall, random_);
    now_ += 10s;
    return handle(std::move(request));
  }
  // "a.eu,*.b.eu"
  std::string hostnames(const http::Response& page) {
    std::string out;
    for (const auto& entry : parse(page).at("entries").as_array()) {
      out += out.empty() ? "" : ",";
      out += std::string_view(entry.at("hostname").as_string());
    }
    return out;
  }
  std::string accepted(const hubapi::InviteToken& token, std::string_view host) {
    now_ += 10s;
    auto answer = hubapi::decode_lease_answer(declare(token, host).body);
    EXPECT_TRUE(answer);
    if (!answer) return "";
    return answer->services[0].accepted ? "yes" : answer->services[0].reason;
  }
  void name_tenant(std::string_view hostname, const hubapi::InviteToken& token) {
    zone_.push_back(dns_text(hubapi::challenge_name(route::HostPattern::parse(hostname).value()),
                             {"something else", ""}));
    zone_.push_back(dns_text(hubapi::challenge_name(route::HostPattern::parse(hostname).value()),
                             {hubapi::challenge_value(token.tenant_key.public_key())}));
  }

  std::vector<DnsRecord> zone_;
  bool dns_is_silent_ = false;
  FakeDns dns_;
};

TEST_F(EntriesTest, ATenantEntersNamesWithinItsGrantAndSeesThemAlone) {
  auto token = invite(), other = invite(R"({"hostnames":["*.b.eu"]})");
  auto entered = put(token, 1, "x.a.eu", route::TlsMode::kTerminate);
  ASSERT_EQ(entered.status, 200) << entered.body;
  EXPECT_EQ(parse(entered).at("entry").at("proof").as_string(), "grant");
  EXPECT_EQ(put(token, 2, "*.y.a.eu").status, 200);
  EXPECT_EQ(error_code(put(token, 3, "x.b.eu")), "hostname_not_owned");
  EXPECT_EQ(error_code(put(token, 3, "evila.eu")), "hostname_not_owned");
  EXPECT_EQ(error_code(put(token, 3, "hub.example")), "invalid_request") << "the hub's own";
  EXPECT_EQ(put(other, 1, "x.b.eu").status, 200) << "each tenant counts for itself";

  auto page = list(token.tenant_key);
  ASSERT_EQ(page.status, 200) << page.body;
  EXPECT_EQ(hostnames(page), "*.y.a.eu,x.a.eu");
  EXPECT_EQ(parse(page).at("sequence").as_int64(), 2);
  EXPECT_EQ(hostnames(list(token.tenant_key, "/v1/entries?after=*.y.a.eu")), "x.a.eu");
  EXPECT_EQ(hostnames(list(token.tenant_key, "/v1/entries?after=%2A.y.a.eu")), "x.a.eu");
  const std::string tenant = token.tenant_key.public_key().to_string();
  for (const std::string slash : {"/", "%2F"}) {
    EXPECT_EQ(hostnames(call("GET", fmt::format("/v1/entries?tenant={}&after=x.a.eu", tenant))), "");
    auto all = call("GET", fmt::format("/v1/entries?after={}{}x.a.eu", tenant, slash));
    ASSERT_EQ(all.status, 200) << all.body;
    EXPECT_EQ(hostnames(all).find("x.a.eu"), std::string::npos);
  }
  EXPECT_EQ(list(token.tenant_key, "/v1/entries?tenant=" + other.tenant_key.public_key().to_string()).status,
            403);
  EXPECT_EQ(list(SecretKey::generate(random_)).status, 403);
  EXPECT_EQ(call("GET", "/v1/entries", "", std::nullopt).status, 401);
  EXPECT_EQ(call("GET", "/v1/entries", "", "wrong").status, 401);
  EXPECT_EQ(parse(call("GET", "/v1/entries")).at("entries").as_array().size(), 3u);
  EXPECT_EQ(hostnames(call("GET", "/v1/entries?tenant=" + other.tenant_key.public_key().to_string())),
            "x.b.eu");
  EXPECT_EQ(call("GET", "/v1/entries?tenant=x").status, 400);
  EXPECT_EQ(call("GET", "/v1/entries?before=x").status, 400);

  open({});
  EXPECT_EQ(hostnames(list(token.tenant_key)), "*.y.a.eu,x.a.eu") << "they are stored";
  EXPECT_EQ(change(token, 3, Op::kDelete, "x.a.eu").status, 200);
  EXPECT_EQ(error_code(change(token, 4, Op::kDelete, "x.a.eu")), "not_found");
  EXPECT_EQ(hostnames(list(token.tenant_key)), "*.y.a.eu");
  const std::string audit = call("GET", "/v1/audit").body;
  EXPECT_NE(audit.find(R"("action":"entry.delete","subject":"x.a.eu")"), std::string::npos) << audit;
  auto theirs = parse(call("GET", "/v1/audit?actor=tenant%20" + tenant)).at("entries").as_array();
  EXPECT_EQ(theirs.size(), 3u) << "two entered, one deleted; of nobody else";
}

TEST_F(EntriesTest, ReplayedAndReorderedChangesAreRefusedAlsoAfterARestart) {
  auto token = invite();
  const std::string body = hubapi::encode(
      {.sequence = 5, .op = Op::kPut, .hostname = route::HostPattern::parse("x.a.eu").value()});
  ASSERT_EQ(post(token.tenant_key, body).status, 200);
  EXPECT_EQ(change(token, 6, Op::kDelete, "x.a.eu").status, 200);
  for (int start = 0; start < 2; ++start) {
    for (uint64_t late : {1u, 5u, 6u}) {
      auto refused = put(token, late, "x.a.eu");
      EXPECT_EQ(refused.status, 409);
      EXPECT_EQ(error_code(refused), "sequence_conflict");
      EXPECT_EQ(parse(refused).at("sequence").as_int64(), 6);
    }
    EXPECT_EQ(post(token.tenant_key, body).status, 409) << "the very same";
    EXPECT_EQ(hostnames(list(token.tenant_key)), "");
    open({});
  }
  EXPECT_EQ(put(token, 100, "x.a.eu").status, 200) << "gaps are no fault";
}

TEST_F(EntriesTest, NoSequenceLocksATenantOut) {
  using hubapi::EntryChange;
  auto token = invite();
  EXPECT_EQ(error_code(put(token, EntryChange::kMaxPut + 1, "x.a.eu")), "invalid_request");
  ASSERT_EQ(put(token, EntryChange::kMaxPut, "x.a.eu").status, 200);
  EXPECT_EQ(error_code(put(token, EntryChange::kMaxPut + 1, "x.a.eu")), "invalid_request");
  ASSERT_EQ(change(token, EntryChange::kMaxDelete, Op::kDelete, "x.a.eu").status, 200);
  open({});
  EXPECT_EQ(error_code(change(token, EntryChange::kMaxDelete, Op::kDelete, "x.a.eu")), "sequence_conflict");
  EXPECT_EQ(parse(list(token.tenant_key)).at("sequence").as_int64(), INT64_MAX - 1);
  EXPECT_EQ(
      post(token.tenant_key, hubapi::encode({.sequence = EntryChange::kMaxLeave, .op = Op::kLeave})).status,
      200);
}

TEST_F(EntriesTest, ADamagedSequenceLetsATenantLeaveAndDoNothingElse) {
  auto token = invite();
  ASSERT_EQ(put(token, 1, "x.a.eu").status, 200);
  state_.apply(std::vector{Record{.kind = std::string(Entries::kSequenceKind),
                                  .key = token.tenant_key.public_key().to_string(),
                                  .body = "{"}},
               now_, g_wall);
  EXPECT_EQ(error_code(put(token, 2, "y.a.eu")), "sequence_conflict");
  EXPECT_EQ(
      post(token.tenant_key, hubapi::encode({.sequence = hubapi::EntryChange::kMaxLeave, .op = Op::kLeave}))
          .status,
      200);
}

// Found by the fuzzer: it was kept under a name that nothing finds.
TEST_F(EntriesTest, ARecordUnderAnotherSpellingOfItsNameIsDamaged) {
  const std::string tenant = invite().tenant_key.public_key().to_string();
  Entries entries;
  for (const char* name : {"app.Example.com", "app.example.com.", "*.Example.com"}) {
    entries.apply({.kind = std::string(Entries::kKind),
                   .key = tenant + "/" + name,
                   .body = R"({"proof":"txt","since":1700000000})"});
  }
  EXPECT_TRUE(entries.all().empty());
}

TEST_F(EntriesTest, OnlyALiveTenantsSignatureCounts) {
  auto token = invite(), expiring = invite(R"({"hostnames":["*.c.eu"],"expires_in_secs":100})");
  const std::string body = hubapi::encode(
      {.sequence = 1, .op = Op::kPut, .hostname = route::HostPattern::parse("x.a.eu").value()});
  EXPECT_EQ(error_code(post(token.tenant_key, body, hubapi::kLeaseTag)), "invalid_signature");
  EXPECT_EQ(error_code(post(token.tenant_key, body, hubapi::kEntriesTag)), "invalid_signature");
  EXPECT_EQ(error_code(post(SecretKey::generate(random_), body)), "tenant_not_allowed");
  http::Request tampered{.method = "POST", .target = "/v1/entries", .headers = {}, .body = body};
  http::sign_request(tampered, token.tenant_key, hubapi::kEntryTag, g_wall, random_);
  tampered.body[12] = '2';
  EXPECT_EQ(handle(std::move(tampered)).status, 401);
  EXPECT_EQ(error_code(post(token.tenant_key, "{}")), "invalid_request");
  EXPECT_EQ(
      error_code(post(token.tenant_key, R"({"sequence":1,"op":"move","hostname":"x.a.eu","to":"y.a.eu"})")),
      "unsupported_op");
  ASSERT_EQ(call("PATCH", "/v1/invites/" + to_base64url(token.invite_id), R"({"suspended":true})").status,
            200);
  EXPECT_EQ(error_code(post(token.tenant_key, body)), "tenant_suspended");
  ASSERT_EQ(call("DELETE", "/v1/invites/" + to_base64url(token.invite_id)).status, 200);
  EXPECT_EQ(error_code(post(token.tenant_key, body)), "tenant_not_allowed");
  g_wall += 100s;
  EXPECT_EQ(error_code(put(expiring, 1, "x.c.eu")), "invite_expired");
  EXPECT_EQ(dns_.total(), 0) << "no name server is asked before";
  EXPECT_EQ(api_->counters().entries, 0u);
  EXPECT_EQ(api_->counters().entries_refused, 9u);
}

TEST_F(EntriesTest, AnEntrysTlsModeBindsTheAgents) {
  auto token = invite();
  ASSERT_EQ(put(token, 1, "x.a.eu", route::TlsMode::kPassthrough).status, 200);
  EXPECT_NE(accepted(token, "x.a.eu").find("the tenant's entry says"), std::string::npos);
  EXPECT_EQ(accepted(token, "y.a.eu"), "yes");
  ASSERT_EQ(put(token, 2, "x.a.eu", route::TlsMode::kTerminate).status, 200);
  EXPECT_EQ(accepted(token, "x.a.eu"), "yes");
}

TEST_F(EntriesTest, AnEntrysTlsModeEndsWhatIsServedInTheOther) {
  auto token = invite();
  EXPECT_EQ(accepted(token, "x.a.eu"), "yes");
  EXPECT_EQ(call("GET", "/v1/routes/x.a.eu").status, 200);
  ASSERT_EQ(put(token, 1, "x.a.eu", route::TlsMode::kPassthrough).status, 200);
  EXPECT_EQ(call("GET", "/v1/routes/x.a.eu").status, 404) << "at once, and not at the next declaration";
}

TEST_F(EntriesTest, AnEntryIsAGrantOfExactlyItsName) {
  auto wide = invite(R"({"hostnames":["*.a.eu"]})");
  ASSERT_EQ(put(wide, 1, "x.y.a.eu").status, 200);
  EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["x.y.a.eu"],"allow_overlap":true})")),
            "hostname_conflict");
  auto narrow = invite(R"({"hostnames":["*.y.a.eu"],"allow_overlap":true})");
  EXPECT_EQ(accepted(wide, "x.y.a.eu"), "yes") << "it is the most specific";
  EXPECT_NE(accepted(wide, "z.y.a.eu"), "yes");
  EXPECT_EQ(error_code(put(narrow, 1, "x.y.a.eu")), "hostname_not_owned");
  EXPECT_EQ(error_code(put(wide, 2, "z.y.a.eu")), "hostname_not_owned");
  agent_ = SecretKey::generate(random_).public_key();
  EXPECT_EQ(accepted(narrow, "*.y.a.eu"), "yes");
  leases_.end_invite(wide.invite_id);
  const route::Route* route = nullptr;
  const auto routes = leases_.snapshot();
  route = routes->match("x.y.a.eu");
  ASSERT_NE(route, nullptr);
  EXPECT_TRUE(route->targets.empty()) << "not the wildcard's, while its tenant is away";
  // It ends with the grant that it rests on.
  ASSERT_EQ(call("PATCH", "/v1/invites/" + to_base64url(wide.invite_id), R"({"hostnames":["q.eu"]})").status,
            200);
  EXPECT_EQ(accepted(narrow, "x.y.a.eu"), "yes");
  EXPECT_NE(list(wide.tenant_key).body.find(R"("in_force":false)"), std::string::npos);
}

TEST_F(EntriesTest, ADomainOfItsOwnNeedsTheOperatorsWordAndAProof) {
  auto token = invite();
  name_tenant("shop.example", token);
  auto refused = put(token, 1, "shop.example");
  EXPECT_EQ(error_code(refused), "hostname_not_owned");
  EXPECT_EQ(dns_.total(), 0);
  ASSERT_EQ(call("PATCH", "/v1/invites/" + to_base64url(token.invite_id), R"({"allow_custom_domains":true})")
                .status,
            200);
  refused = put(token, 1, "other.example");
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("_culvert-challenge.other.example"), std::string::npos) << refused.body;
  EXPECT_NE(refused.body.find("culvert-tenant=" + token.tenant_key.public_key().to_string()),
            std::string::npos);
  auto entered = put(token, 1, "shop.example");
  ASSERT_EQ(entered.status, 200) << entered.body;
  EXPECT_EQ(parse(entered).at("entry").at("proof").as_string(), "txt");
  EXPECT_EQ(accepted(token, "shop.example"), "yes");
  EXPECT_EQ(leases_.size(), 1u);
  open({});
  EXPECT_EQ(leases_.size(), 1u) << "also after a restart";
  EXPECT_EQ(put(token, 2, "*.shop.example").status, 200) << "one record is for the names below as well";
  ASSERT_EQ(call("PATCH", "/v1/invites/" + to_base64url(token.invite_id), R"({"allow_custom_domains":false})")
                .status,
            200);
  EXPECT_EQ(leases_.size(), 0u);
  EXPECT_NE(accepted(token, "shop.example"), "yes");
}

TEST_F(EntriesTest, ANameThatLeadsToAnEdgeAndNowhereElseIsAProof) {
  auto token = invite(R"({"hostnames":["a.eu"],"allow_custom_domains":true})");
  zone_ = {dns_address("here.example", "192.0.2.1"), dns_address("both.example", "192.0.2.1"),
           dns_address("both.example", "192.0.2.9"), dns_address("away.example", "192.0.2.9")};
  auto entered = put(token, 1, "here.example");
  ASSERT_EQ(entered.status, 200) << entered.body;
  EXPECT_EQ(parse(entered).at("entry").at("proof").as_string(), "address");
  for (const char* name : {"both.example", "away.example", "none.example", "*.here.example"})
    EXPECT_EQ(put(token, 2, name).status, 403) << name;
}

TEST_F(EntriesTest, SilentNameServersDelayNothingForLong) {
  auto token = invite(R"({"hostnames":["a.eu"],"allow_custom_domains":true})");
  dns_is_silent_ = true;
  const TimePoint start = loop_.now();
  auto refused = put(token, 1, "shop.example");
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_LT(loop_.now() - start, DomainProof::kTime + 3s);
  EXPECT_EQ(hostnames(list(token.tenant_key)), "");
}

TEST_F(EntriesTest, ADomainChangesHandsWhenItsProofDoes) {
  auto one = invite(R"({"hostnames":["a.eu"],"allow_custom_domains":true})");
  auto two = invite(R"({"hostnames":["b.eu"],"allow_custom_domains":true})");
  auto granted = invite(R"({"hostnames":["*.granted.example"]})");
  zone_ = {dns_address("shop.example", "192.0.2.1")};
  ASSERT_EQ(put(one, 1, "shop.example").status, 200);
  EXPECT_EQ(error_code(put(two, 1, "shop.example")), "hostname_conflict") << "an address names nobody";
  name_tenant("shop.example", two);
  EXPECT_EQ(put(two, 1, "shop.example").status, 200) << "a TXT record does";
  EXPECT_EQ(hostnames(list(one.tenant_key)), "");
  const auto lost = parse(call("GET", "/v1/audit?action=entry.lose")).at("entries").as_array();
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].at("subject").as_string(), "shop.example");
  EXPECT_EQ(lost[0].at("actor").as_string(), "tenant " + two.tenant_key.public_key().to_string());
  EXPECT_EQ(lost[0].at("before").at("tenant_id").as_string(), one.tenant_key.public_key().to_string());
  EXPECT_EQ(lost[0].at("after"), nullptr);
  name_tenant("shop.example", one);
  EXPECT_EQ(error_code(put(one, 2, "shop.example")), "hostname_conflict") << "who has it keeps it";
  zone_.clear();
  name_tenant("shop.example", one);
  EXPECT_EQ(put(one, 2, "shop.example").status, 200);
  EXPECT_EQ(hostnames(list(two.tenant_key)), "");
  // What an operator granted is not for others to prove.
  name_tenant("x.granted.example", one);
  EXPECT_EQ(error_code(put(one, 3, "x.granted.example")), "hostname_not_owned");
  EXPECT_EQ(error_code(call("POST", "/v1/invites", R"({"hostnames":["*.example"]})")), "hostname_conflict");
}

TEST_F(EntriesTest, ChangesAreLimitedForEachTenant) {
  auto token = invite(), other = invite(R"({"hostnames":["*.b.eu"]})");
  int refused = 0;
  for (uint64_t i = 1; i <= RequestLimits::kEntryBurst + 5; ++i) {
    client_ = SocketAddr::v4({10, 0, 0, uint8_t(i)}, 1);
    const auto body = hubapi::encode(
        {.sequence = i, .op = Op::kPut, .hostname = route::HostPattern::parse("x.a.eu").value()});
    if (post(token.tenant_key, body).status == 429) ++refused;
  }
  EXPECT_EQ(refused, 5) << "wherever they come from";
  EXPECT_EQ(put(other, 1, "x.b.eu").status, 200);
}

TEST_F(EntriesTest, RefusalsOfATenantCountForThatOneOnly) {
  auto token = invite(), other = invite(R"({"hostnames":["*.b.eu"]})");
  for (uint32_t i = 0; i < 2 * RequestLimits::kSourceBurst; ++i)
    ASSERT_NE(post(token.tenant_key, "{").status, 200);
  EXPECT_EQ(api_->counters().source_limited, RequestLimits::kSourceBurst) << "not verified any more";
  EXPECT_EQ(put(other, 1, "x.b.eu").status, 200) << "another tenant behind the same address";
  EXPECT_EQ(list(other.tenant_key).status, 200);
  EXPECT_EQ(declare(other, "x.b.eu").status, 200);
  // Who only names its key takes nothing from a tenant.
  for (uint32_t i = 0; i < 100; ++i) {
    http::Request request{.method = "POST", .target = "/v1/entries", .headers = {}, .body = "{}"};
    http::sign_request(request, other.tenant_key, hubapi::kEntryTag, g_wall, random_);
    request.body = "{ }";
    ASSERT_EQ(handle(std::move(request)).status, 401);
  }
  EXPECT_EQ(put(other, 2, "y.b.eu").status, 200);
}

TEST_F(EntriesTest, ATenantThatLeavesIsGoneForGood) {
  auto token = invite();
  ASSERT_EQ(put(token, 1, "x.a.eu").status, 200);
  ASSERT_EQ(declare(token).status, 200);
  auto left = post(token.tenant_key, hubapi::encode({.sequence = 2, .op = Op::kLeave}));
  ASSERT_EQ(left.status, 200) << left.body;
  EXPECT_EQ(leases_.size(), 0u);
  const std::string tenant = token.tenant_key.public_key().to_string();
  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(list(token.tenant_key).status, 403);
    EXPECT_TRUE(parse(call("GET", "/v1/entries")).at("entries").as_array().empty());
    EXPECT_TRUE(state_.invites.was_removed(token.tenant_key.public_key()));
    EXPECT_EQ(parse(call("DELETE", "/v1/tenants/" + tenant)).at("status").as_string(), "removed");
    Invite again = **state_.invites.find(token.invite_id);
    again.revoked = false;
    EXPECT_EQ(state_.invites.add(again, g_wall).error().code, ErrorCode::kConflict);
    open({});
  }
  EXPECT_NE(call("GET", "/v1/audit").body.find("tenant.leave"), std::string::npos);
}

TEST_F(EntriesTest, RemovedTenantsAndInvitesAreNeverMadeAgain) {
  auto token = invite();
  const std::string tenant = token.tenant_key.public_key().to_string();
  EXPECT_EQ(parse(call("DELETE", "/v1/tenants/" + tenant)).at("status").as_string(), "revoked");
  EXPECT_EQ(parse(call("DELETE", "/v1/tenants/" + tenant)).at("status").as_string(), "removed");
  EXPECT_EQ(parse(call("DELETE", "/v1/tenants/" + std::string(64, '1'))).at("status").as_string(), "unknown");
  EXPECT_EQ(call("DELETE", "/v1/tenants/x").status, 400);
  // Its record gives way to others some day; the tombstone stays.
  state_.apply(std::vector{Record{.kind = std::string(kInviteKind), .key = invite_key(token.invite_id)}},
               now_, g_wall);
  EXPECT_EQ(parse(call("DELETE", "/v1/tenants/" + tenant)).at("status").as_string(), "removed");
  Invite again{.id = token.invite_id,
               .name = "again",
               .tenant = SecretKey::generate(random_).public_key(),
               .secret_hash = {},
               .hostnames = {route::HostPattern::parse("z.eu").value()},
               .created_at = g_wall,
               .expires_at = std::nullopt};
  EXPECT_FALSE(state_.invites.add(again, g_wall)) << "the id";
  again.id.fill(9);
  again.tenant = token.tenant_key.public_key();
  EXPECT_FALSE(state_.invites.add(again, g_wall)) << "the key";
}

}  // namespace
}  // namespace culvert::hub
