#include "hub/page.h"

#include <set>

#include "hub/api_fixture.h"
#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

TEST(Page, EndsAfterSomeEntries) {
  Page page;
  for (size_t i = 0; i < Page::kMaxEntries; ++i) ASSERT_TRUE(page.add("1", std::to_string(i)));
  EXPECT_FALSE(parse(page.answer("things")).contains("next")) << "nobody said that there are more";
  EXPECT_FALSE(page.add("1", "more"));
  const auto body = parse(page.answer("things", R"({"sequence":7})"));
  EXPECT_EQ(body.at("things").as_array().size(), Page::kMaxEntries);
  EXPECT_EQ(body.at("next").as_string(), std::to_string(Page::kMaxEntries - 1));
  EXPECT_EQ(body.at("sequence").as_int64(), 7);
  page.go_on_behind("elsewhere");
  EXPECT_EQ(parse(page.answer("things")).at("next"), body.at("next")) << "it leaves out nothing";
  Page rest;
  rest.go_on_behind("elsewhere");
  EXPECT_EQ(rest.answer("things").body, R"({"status":"ok","next":"elsewhere","things":[]})");
}

TEST(Page, EndsBeforeItIsTooLong) {
  const std::string half = '"' + std::string(Page::kMaxBytes / 2, 'x') + '"';
  Page page;
  EXPECT_TRUE(page.add(half, "a"));
  EXPECT_FALSE(page.add(half, "b"));
  EXPECT_TRUE(page.is_full());
  EXPECT_EQ(parse(page.answer("things")).at("next").as_string(), "a");
  Page one;
  EXPECT_TRUE(one.add(half + half, "a")) << "an entry that is longer has a page of its own";
}

TEST(Page, MayBeEmpty) { EXPECT_EQ(Page().answer("things").body, R"({"status":"ok","things":[]})"); }

class PagesTest : public ApiTest {
 protected:
  // The member `key` of all entries, page by page, as a library asks for them.
  struct Pages {
    size_t count = 0;
    std::vector<std::string> keys;
  };
  Pages walk(std::string path, std::string_view member, std::string_view key) {
    Pages pages;
    std::string next;
    do {
      const char* mark = path.contains('?') ? "&after=" : "?after=";
      auto answer = call("GET", next.empty() ? path : path + mark + to_percent(next));
      EXPECT_EQ(answer.status, 200) << answer.body.substr(0, 500);
      EXPECT_LE(answer.body.size(), Page::kMaxBytes + 1000);
      const auto body = parse(answer);
      for (const auto& entry : body.at(member).as_array()) {
        const auto& value = entry.at(key);
        pages.keys.push_back(value.is_string() ? std::string(value.as_string()) : json::serialize(value));
      }
      next = body.contains("next") ? std::string(body.at("next").as_string()) : "";
      ++pages.count;
    } while (!next.empty() && pages.count < 20);
    return pages;
  }
  // Each once, whatever the order.
  void expect_all(const Pages& pages, size_t entries, size_t count) {
    EXPECT_EQ(pages.count, count);
    EXPECT_EQ(pages.keys.size(), entries);
    EXPECT_EQ(std::set(pages.keys.begin(), pages.keys.end()).size(), entries);
  }
  void commit(Batch batch) {
    auto stored =
        run_task(loop_, ledger_->commit({.touches = {}, .judge = [&]() -> Result<Batch> { return batch; }}));
    ASSERT_TRUE(stored) << stored.error().message;
  }
  // "NNN", and as long below a.eu as a name may be.
  std::string long_name(size_t number) {
    const std::string label(60, 'x');
    return fmt::format("h{:03}.{}.{}.{}.a.eu", number, label, label, label);
  }
};

TEST_F(PagesTest, AgentsOfManyServices) {
  const auto token = invite(fmt::format(R"({{"hostnames":["*{}"]}})", long_name(0).substr(4)));
  auto wanted = declaration(token);
  wanted.services.clear();
  for (size_t i = 0; i < hubapi::kMaxServices; ++i) {
    wanted.services.push_back({route::HostPattern::parse(long_name(i)).value(), route::TlsMode::kTerminate});
  }
  constexpr size_t kAgents = 40;  // of 60 kB each
  for (size_t i = 0; i < kAgents; ++i) {
    wanted.agent_id = SecretKey::generate(random_).public_key();
    ASSERT_EQ(handle(signed_request(hubapi::encode(wanted), token.tenant_key, g_wall)).status, 200);
  }
  expect_all(walk("/v1/agents", "agents", "agent_id"), kAgents, 2);
}

TEST_F(PagesTest, InvitesOfManyHostnames) {
  constexpr size_t kInvites = 120;  // of 20 kB each
  for (size_t i = 0; i < kInvites; ++i) {
    json::array hostnames;
    for (size_t j = 0; j < InviteRequest::kMaxHostnames; ++j)
      hostnames.push_back(json::string(fmt::format("i{}.{}", i, long_name(j))));
    ASSERT_EQ(call("POST", "/v1/invites", json::serialize(json::object{{"hostnames", hostnames}})).status,
              200);
  }
  expect_all(walk("/v1/invites", "invites", "invite_id"), kInvites, 2);
  // The log holds what each was.
  expect_all(walk("/v1/audit", "entries", "sequence"), kInvites, 2);
}

TEST_F(PagesTest, Claims) {
  const auto token = invite();
  Batch batch;
  constexpr size_t kClaims = Page::kMaxEntries + 100;
  for (size_t i = 0; i < kClaims; ++i) {
    const json::object claim{{"invite_id", invite_key(token.invite_id)}, {"service", fmt::format("s{}", i)}};
    batch.records.push_back({.kind = std::string(Claims::kKind),
                             .key = fmt::format("{}/{}", i % 2 == 0 ? "tcp" : "udp", 20'000 + i),
                             .body = json::serialize(claim)});
  }
  commit(std::move(batch));
  expect_all(walk("/v1/claims", "claims", "port"), kClaims, 2);
}

TEST_F(PagesTest, Entries) {
  const auto first = invite(), second = invite(R"({"hostnames":["*.b.eu"]})");
  Batch batch;
  constexpr size_t kEntries = Page::kMaxEntries - 100;
  for (size_t i = 0; i < kEntries; ++i) {
    for (const auto& [token, domain] : {std::pair(&first, "a.eu"), std::pair(&second, "b.eu")}) {
      const Entry entry{.hostname = route::HostPattern::parse(fmt::format("*.h{}.{}", i, domain)).value(),
                        .tls_mode = {},
                        .proof = Entry::Proof::kGrant,
                        .since = g_wall};
      batch.records.push_back(Entries::record_of(token->tenant_key.public_key(), entry));
    }
  }
  commit(std::move(batch));
  expect_all(walk("/v1/entries", "entries", "hostname"), 2 * kEntries, 2);
  const std::string tenant = first.tenant_key.public_key().to_string();
  expect_all(walk("/v1/entries?tenant=" + tenant, "entries", "hostname"), kEntries, 1);
  batch = {};
  for (size_t i = kEntries; i < 2 * kEntries; ++i) {
    const Entry entry{.hostname = route::HostPattern::parse(fmt::format("*.h{}.a.eu", i)).value(),
                      .tls_mode = {},
                      .proof = Entry::Proof::kGrant,
                      .since = g_wall};
    batch.records.push_back(Entries::record_of(first.tenant_key.public_key(), entry));
  }
  commit(std::move(batch));
  expect_all(walk("/v1/entries?tenant=" + tenant, "entries", "hostname"), 2 * kEntries, 2);
}

TEST_F(PagesTest, Edges) {
  constexpr size_t kEdges = Page::kMaxEntries + 100;
  Batch batch;
  for (size_t i = 0; i < kEdges; ++i) {
    const Edge edge{.id = SecretKey::generate(random_).public_key(),
                    .name = fmt::format("e{}", i),
                    .region = {},
                    .created_at = g_wall};
    batch.records.push_back(state_.edges.add(edge).value());
  }
  commit(std::move(batch));
  expect_all(walk("/v1/edges", "edges", "name"), kEdges, 2);
  EXPECT_EQ(call("GET", "/v1/edges?after=x").status, 400);
  EXPECT_EQ(call("GET", "/v1/edges?bogus=1").status, 400);
}

// There may be fewer of them than fit a page: only where it goes on can be seen.
TEST_F(PagesTest, OperatorKeys) {
  static_assert(OperatorKeys::kMax <= Page::kMaxEntries);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(call("POST", "/v1/operator-keys", fmt::format(R"({{"name":"{}"}})", name)).status, 200);
  }
  const auto rest = parse(call("GET", "/v1/operator-keys?after=a")).at("keys").as_array();
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].at("name").as_string(), "b");
  EXPECT_EQ(call("GET", "/v1/operator-keys?bogus=1").status, 400);
}

}  // namespace
}  // namespace culvert::hub
