// What every kind of database does.
#include "hub/record_database.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;

class RecordDatabaseTest : public testing::AnyStoreFixture {
 protected:
  static Record thing(std::string key, std::optional<std::string> body = "{}") {
    return {.kind = "thing", .key = std::move(key), .body = std::move(body)};
  }
};

TEST_P(RecordDatabaseTest, KeepsInvitesAndTheHashKeyOverARestart) {
  Invite one = make_invite({"a.example.com", "*.b.example.com"});
  Invite two = make_invite({"c.example.com"}, kNow + 1h);
  Bytes hash_key;
  {
    auto store = must_open();
    hash_key = to_bytes(store->hash_key());
    EXPECT_EQ(hash_key.size(), 32u);
    ASSERT_TRUE(store->add_invite(one, kNow).has_value());
    ASSERT_TRUE(store->add_invite(two, kNow).has_value());
  }
  auto store = must_open();
  EXPECT_TRUE(std::ranges::equal(store->hash_key(), hash_key));
  auto found = store->find_invite(one.id);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->name, one.name);
  EXPECT_EQ((*found)->tenant, one.tenant);
  EXPECT_EQ((*found)->secret_hash, one.secret_hash);
  EXPECT_EQ((*found)->hostnames, one.hostnames);
  EXPECT_EQ((*found)->created_at, kNow);
  EXPECT_EQ((*found)->expires_at, std::nullopt);
  EXPECT_FALSE((*found)->revoked);
  EXPECT_EQ((*store->find_invite(two.id))->expires_at, kNow + 1h);
  auto absent = store->find_invite(make_invite({"x.y"}).id);
  ASSERT_TRUE(absent.has_value());
  EXPECT_FALSE(absent->has_value());
}

TEST_P(RecordDatabaseTest, ListsInPages) {
  auto store = must_open();
  std::vector<Invite> added;
  for (int i = 0; i < 5; ++i) {
    added.push_back(make_invite({fmt::format("h{}.example.com", i)}));
    ASSERT_TRUE(store->add_invite(added.back(), kNow).has_value());
  }
  auto first = store->list_invites(std::nullopt, 3);
  ASSERT_TRUE(first.has_value());
  ASSERT_EQ(first->size(), 3u);
  EXPECT_EQ((*first)[2].id, added[2].id);
  auto rest = store->list_invites((*first)[2].id, 3);
  ASSERT_TRUE(rest.has_value());
  ASSERT_EQ(rest->size(), 2u);
  EXPECT_EQ((*rest)[0].id, added[3].id);
  auto unknown = store->list_invites(InviteId{}, 3);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
}

TEST_P(RecordDatabaseTest, RevokesOnce) {
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  EXPECT_TRUE(store->revoke_invite(invite.id).has_value());
  EXPECT_TRUE((*store->find_invite(invite.id))->revoked);
  EXPECT_EQ(store->revoke_invite(invite.id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->revoke_invite(make_invite({"x.y"}).id).error().code, ErrorCode::kNotFound);
}

TEST_P(RecordDatabaseTest, NoTwoLiveInvitesOverlap) {
  auto store = must_open();
  Invite holder = make_invite({"*.a.eu", "b.eu"});
  ASSERT_TRUE(store->add_invite(holder, kNow).has_value());
  for (const char* taken : {"app.a.eu", "x.y.a.eu", "*.a.eu", "*.sub.a.eu", "b.eu", "*.eu"}) {
    auto added = store->add_invite(make_invite({"free.org", taken}), kNow);
    ASSERT_FALSE(added.has_value()) << taken;
    EXPECT_EQ(added.error().code, ErrorCode::kConflict);
    EXPECT_NE(added.error().message.find(taken), std::string::npos) << added.error().message;
    EXPECT_NE(added.error().message.find(holder.name), std::string::npos) << added.error().message;
  }
  EXPECT_EQ(store->list_invites(std::nullopt, 10)->size(), 1u) << "a refused invite left something behind";
  for (const char* free : {"a.eu", "evila.eu", "x.b.eu", "*.evila.eu"}) {
    EXPECT_TRUE(store->add_invite(make_invite({free}), kNow).has_value()) << free;
  }
}

TEST_P(RecordDatabaseTest, RevokedAndExpiredInvitesFreeTheirNames) {
  auto store = must_open();
  Invite revoked = make_invite({"*.a.eu"});
  Invite expired = make_invite({"b.eu"}, kNow + 10s);
  ASSERT_TRUE(store->add_invite(revoked, kNow).has_value());
  ASSERT_TRUE(store->add_invite(expired, kNow).has_value());
  EXPECT_FALSE(store->add_invite(make_invite({"x.a.eu"}), kNow).has_value());
  EXPECT_FALSE(store->add_invite(make_invite({"b.eu"}), kNow + 9s).has_value());
  ASSERT_TRUE(store->revoke_invite(revoked.id).has_value());
  EXPECT_TRUE(store->add_invite(make_invite({"x.a.eu"}), kNow).has_value());
  EXPECT_TRUE(store->add_invite(make_invite({"b.eu"}), kNow + 10s).has_value());
}

TEST_P(RecordDatabaseTest, BoundsTheNumberOfInvites) {
  auto store = must_open();
  // Through the state alone: ten thousand synced writes would take long.
  Invite ended = make_invite({"ended.example.com"}, kNow - 1s);
  for (size_t i = 0; i < Invites::kMax; ++i) {
    ended.sequence = static_cast<int64_t>(i + 1);
    random_.fill(ended.id);
    ended.hostnames = {route::HostPattern::parse(fmt::format("ended{}.example.com", i)).value()};
    store->state().apply(std::vector{invite_record(ended)}, {}, {});
  }
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value()) << "an expired one makes room";
  EXPECT_EQ(store->state().invites.size(), Invites::kMax);
  for (const Invite& each : store->list_invites(std::nullopt, Invites::kMax).value()) {
    Invite unending = each;
    unending.expires_at.reset();
    store->state().apply(std::vector{invite_record(unending)}, {}, {});
  }
  auto more = store->add_invite(make_invite({"b.example.com"}), kNow);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ErrorCode::kLimit) << more.error().message;
}

TEST_P(RecordDatabaseTest, FailsClosedWhenAnotherHoldsTheLock) {
  options_.busy_time = 50ms;
  auto store = must_open();
  Invite invite = make_invite({"a.example.com"});
  ASSERT_TRUE(store->add_invite(invite, kNow).has_value());
  {
    const auto other = lock();
    auto revoked = store->revoke_invite(invite.id);
    ASSERT_FALSE(revoked.has_value());
    EXPECT_EQ(revoked.error().code, ErrorCode::kIo) << "a lock is not \"no such invite\"";
    EXPECT_EQ(store->add_invite(make_invite({"b.example.com"}), kNow).error().code, ErrorCode::kIo);
    EXPECT_TRUE(store->find_invite(invite.id)->has_value());
  }
  EXPECT_TRUE(store->revoke_invite(invite.id).has_value());
}

TEST_P(RecordDatabaseTest, ACommitThatWasJudgedAtAnEarlierRevisionWritesNothing) {
  auto database = open_database().value();
  const auto record = [](const char* key, std::optional<std::string> body) {
    return Record{.kind = "thing", .key = key, .body = std::move(body)};
  };
  auto first = database->commit(0, {.records = {record("a", "{}"), record("b", "{}")}, .audit = {{}}}, 1);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_FALSE(first->has_moved);
  EXPECT_EQ(first->revision, 1u);
  ASSERT_EQ(database->commit(1, {.records = {record("a", std::nullopt)}}, 2)->revision, 2u);
  auto late = database->commit(1, {.records = {record("c", "{}")}, .audit = {{}}}, 3);
  ASSERT_TRUE(late);
  EXPECT_TRUE(late->has_moved);
  EXPECT_EQ(late->revision, 2u);
  EXPECT_EQ(late->newer, std::vector{record("a", std::nullopt)});
  auto content = database->load();
  ASSERT_TRUE(content);
  EXPECT_EQ(content->revision, 2u);
  EXPECT_EQ(content->records, std::vector{record("b", "{}")});
}

TEST_P(RecordDatabaseTest, WhatWasWrittenSinceARevisionIsRead) {
  auto database = open_database().value(), other = open_database().value();
  ASSERT_TRUE(database->commit(0, {.records = {thing("a"), thing("b")}}, 1));
  ASSERT_TRUE(other->commit(1, {.records = {thing("c"), thing("a", std::nullopt)}}, 2));
  EXPECT_FALSE(database->newer(2)->has_moved);
  auto newer = database->newer(1);
  ASSERT_TRUE(newer) << newer.error().message;
  EXPECT_TRUE(newer->has_moved);
  EXPECT_EQ(newer->revision, 2u);
  EXPECT_EQ(newer->newer, (std::vector{thing("a", std::nullopt), thing("c")}));
  EXPECT_FALSE(newer->is_complete);
}

TEST_P(RecordDatabaseTest, OfTwoRecordsWithOneKeyTheLaterIsKept) {
  auto database = open_database().value();
  ASSERT_TRUE(database->commit(0, {.records = {thing("a", "{\"n\":1}"), thing("a", "{\"n\":2}")}}, 1));
  EXPECT_EQ(database->load()->records, std::vector{thing("a", "{\"n\":2}")});
}

TEST_P(RecordDatabaseTest, TextIsKeptByteForByte) {
  auto database = open_database().value();
  const std::string body = R"({"a":"\u0000 \" \\ ' ; -- $1 ☃ 🜁"})";
  const AuditEntry entry{
      .at = kNow, .actor = "o'neill", .action = "thing.make", .subject = "☃", .after = body};
  ASSERT_TRUE(database->commit(0, {.records = {thing("k\"'\\☃", body)}, .audit = {entry}}, 1));
  EXPECT_EQ(database->load()->records, std::vector{thing("k\"'\\☃", body)});
  const auto audit = database->audit(std::nullopt, 10).value();
  ASSERT_EQ(audit.size(), 1u);
  EXPECT_EQ(audit[0].actor, entry.actor);
  EXPECT_EQ(audit[0].subject, entry.subject);
  EXPECT_EQ(audit[0].after, body);
  EXPECT_EQ(audit[0].at, kNow);
}

TEST_P(RecordDatabaseTest, TheAuditLogIsInTheOrderOfTheChanges) {
  auto database = open_database().value();
  std::vector<AuditEntry> entries;
  for (int i = 0; i < 50; ++i) entries.push_back({.action = fmt::format("{}", i)});
  ASSERT_TRUE(database->commit(0, {.audit = entries}, 1));
  auto page = database->audit(std::nullopt, 20).value();
  ASSERT_EQ(page.size(), 20u);
  EXPECT_EQ(page[0].action, "49");
  page = database->audit(page[19].sequence, 100).value();
  ASSERT_EQ(page.size(), 30u);
  EXPECT_EQ(page[0].action, "29");
  EXPECT_EQ(page[29].action, "0");
}

TEST_P(RecordDatabaseTest, NoTenantPushesOperatorsOutOfTheAuditLog) {
  auto database = open_database().value();
  const auto note = [](std::string actor) { return AuditEntry{.actor = std::move(actor), .action = "a"}; };
  Batch batch;
  for (int i = 0; i < 12; ++i) batch.audit.push_back(note("office"));
  for (int i = 0; i < 100; ++i) batch.audit.push_back(note("tenant " + std::string(64, 'a')));
  ASSERT_TRUE(database->commit(0, batch, 1));
  EXPECT_EQ(database->prune_audit(200).value(), false);
  EXPECT_EQ(database->audit(std::nullopt, 1000)->size(), 112u);
  EXPECT_EQ(database->prune_audit(10).value(), false);
  const auto left = database->audit(std::nullopt, 1000).value();
  EXPECT_EQ(left.size(), 20u);
  EXPECT_EQ(std::ranges::count(left, "office", &AuditEntry::actor), 10);
}

TEST_P(RecordDatabaseTest, AHubThatIsFarBehindReadsEverything) {
  auto database = open_database().value();
  ASSERT_TRUE(database->commit(0, {.records = {thing("a", std::nullopt), thing("b")}}, 1));
  ASSERT_TRUE(database->commit(1, {.records = {thing("b")}}, 2));
  const auto count = [&] {
    const uint64_t behind = database->newer(0)->newer.size();
    return behind;
  };
  EXPECT_EQ(count(), 2u) << "what is removed is kept for those that follow";
  const uint64_t far = RecordDatabase::kRemovedFor + 2;
  foreign_sql(GetParam() == testing::DatabaseKind::kSqlite
                  ? fmt::format("UPDATE meta SET value = {} WHERE key = 'revision'", far)
                  : fmt::format("UPDATE culvert.hub SET revision = {}", far));
  ASSERT_TRUE(database->commit(far, {.records = {thing("c")}}, 3));
  ASSERT_TRUE(database->check());
  foreign_sql(fmt::format("INSERT INTO {} (kind, key, body, revision) VALUES ('thing', 'd', NULL, {})",
                          table("records"), far));
  EXPECT_EQ(database->newer(far - 1)->newer.size(), 2u) << "this is not pruned";
  const auto behind = database->commit(1, {.records = {thing("e")}}, 4);
  ASSERT_TRUE(behind) << behind.error().message;
  EXPECT_TRUE(behind->has_moved);
  EXPECT_TRUE(behind->is_complete);
  EXPECT_EQ(behind->newer, (std::vector{thing("b"), thing("c")}));
}

CULVERT_ON_EACH_DATABASE(RecordDatabaseTest);

}  // namespace
}  // namespace culvert::hub
