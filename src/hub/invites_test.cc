#include "hub/invites.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "hub/invite_record.h"

namespace culvert::hub {
namespace {

SeededRandom g_random(7);

InviteId id_of(uint8_t n) {
  InviteId id{};
  id.back() = n;
  return id;
}
constexpr UnixTime kNow{std::chrono::seconds(1'700'000'000)};

Invite invite(uint8_t n, int64_t sequence, std::string_view hostname = "") {
  Invite made{.id = id_of(n),
              .sequence = sequence,
              .name = "n",
              .tenant = SecretKey::generate(g_random).public_key(),
              .secret_hash = {},
              .hostnames = {},
              .created_at = kNow,
              .expires_at = std::nullopt,
              .revoked = false};
  if (!hostname.empty()) made.hostnames.push_back(*route::HostPattern::parse(hostname));
  return made;
}

TEST(Invites, AreListedInTheOrderOfCreation) {
  Invites invites;
  int64_t sequence = 0;
  for (uint8_t n : std::to_array<uint8_t>({3, 1, 2})) invites.apply(invite_record(invite(n, ++sequence)));
  auto all = invites.list(std::nullopt, 10);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ(all->front().id, id_of(3));
  EXPECT_EQ(invites.list(id_of(3), 1)->front().id, id_of(1));
  EXPECT_TRUE(invites.list(id_of(2), 1)->empty());
  EXPECT_EQ(invites.list(id_of(9), 1).error().code, ErrorCode::kNotFound);
  invites.apply({.kind = std::string(kInviteKind), .key = invite_key(id_of(1)), .body = std::nullopt});
  EXPECT_EQ(invites.list(id_of(3), 1)->front().id, id_of(2));
  EXPECT_EQ(*invites.find(id_of(1)), nullptr);
}

TEST(Invites, ARevocationMayBeRepeatedUntilItIsStored) {
  Invites invites;
  Invite revoked = invite(2, 2);
  revoked.revoked = true;
  invites.apply(invite_record(invite(1, 1)));
  invites.apply(invite_record(revoked));
  EXPECT_EQ(invites.revoke(id_of(2), {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(invites.revoke(id_of(3), {}).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(invites.unstored().empty());
  EXPECT_TRUE(invites.revoke(id_of(1), {.actor = "first"}));
  EXPECT_TRUE((*invites.find(id_of(1)))->revoked);
  EXPECT_TRUE(invites.revoke(id_of(1), {.actor = "second"}));
  const Batch unstored = invites.unstored();
  ASSERT_EQ(unstored.records.size(), 2u) << "and its tombstone";
  ASSERT_EQ(unstored.audit.size(), 1u);
  EXPECT_EQ(unstored.audit[0].actor, "first");
  invites.apply(unstored.records[0]);
  EXPECT_TRUE((*invites.find(id_of(1)))->revoked);
  EXPECT_EQ(invites.revoke(id_of(1), {}).error().code, ErrorCode::kNotFound);
}

// Another hub changed the invite before it knew.
TEST(Invites, ARevocationStaysInForceUntilItIsStored) {
  Invites invites;
  const Record live = invite_record(invite(1, 1));
  invites.apply(live);
  EXPECT_TRUE(invites.revoke(id_of(1), {}));
  invites.apply(live);
  EXPECT_TRUE((*invites.find(id_of(1)))->revoked);
  EXPECT_FALSE(invites.unstored().empty());
}

TEST(Invites, ADamagedInviteIsNeitherKnownNorUnknown) {
  Invites invites;
  invites.apply({.kind = std::string(kInviteKind), .key = invite_key(id_of(1)), .body = "{}"});
  EXPECT_EQ(invites.find(id_of(1)).error().code, ErrorCode::kIo);
  Invite other = invite(2, 0, "a.eu");
  EXPECT_EQ(invites.add(other, kNow).error().code, ErrorCode::kConflict) << "it may have that name";
  EXPECT_TRUE(invites.revoke(id_of(1), {}));
  EXPECT_EQ(*invites.find(id_of(1)), nullptr);
  EXPECT_TRUE(invites.revoke(id_of(1), {}));
  const Batch unstored = invites.unstored();
  ASSERT_EQ(unstored.records.size(), 2u);
  EXPECT_FALSE(unstored.records[0].body);
  EXPECT_EQ(unstored.records[1].kind, kTombstoneKind);
  invites.apply(unstored.records[0]);
  EXPECT_FALSE(invites.revoke(id_of(1), {}));
  EXPECT_TRUE(invites.add(other, kNow));
}

}  // namespace
}  // namespace culvert::hub
