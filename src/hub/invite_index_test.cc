#include "hub/invite_index.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace culvert::hub {
namespace {

SeededRandom g_random(7);

InviteId id_of(uint8_t n) {
  InviteId id{};
  id.back() = n;
  return id;
}
Invite invite(uint8_t n, bool revoked = false) {
  return {.id = id_of(n),
          .name = "n",
          .tenant = SecretKey::generate(g_random).public_key(),
          .secret_hash = {},
          .hostnames = {},
          .created_at = {},
          .expires_at = std::nullopt,
          .revoked = revoked};
}

TEST(InviteIndex, ListsInTheOrderOfCreation) {
  InviteIndex index;
  int64_t sequence = 0;
  for (uint8_t n : std::to_array<uint8_t>({3, 1, 2})) index.insert(++sequence, invite(n));
  auto all = index.list(std::nullopt, 10);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ(all->front().id, id_of(3));
  EXPECT_EQ(index.list(id_of(3), 1)->front().id, id_of(1));
  EXPECT_TRUE(index.list(id_of(2), 1)->empty());
  EXPECT_EQ(index.list(id_of(9), 1).error().code, ErrorCode::kNotFound);
  index.erase(id_of(1));
  EXPECT_EQ(index.list(id_of(3), 1)->front().id, id_of(2));
  EXPECT_EQ(*index.find(id_of(1)), nullptr);
}

TEST(InviteIndex, ARevocationMayBeRepeatedUntilItIsStored) {
  InviteIndex index;
  index.insert(1, invite(1));
  index.insert(2, invite(2, true));
  EXPECT_EQ(index.revoke(id_of(2)).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(index.revoke(id_of(3)).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(index.revoke(id_of(1)));
  EXPECT_TRUE((*index.find(id_of(1)))->revoked);
  EXPECT_TRUE(index.revoke(id_of(1)));
  EXPECT_EQ(index.unstored_revocations(), std::set{id_of(1)});
  index.mark_stored({id_of(1)});
  EXPECT_EQ(index.revoke(id_of(1)).error().code, ErrorCode::kNotFound);
}

TEST(InviteIndex, ADamagedInviteIsNeitherKnownNorUnknown) {
  InviteIndex index;
  index.insert_damaged(id_of(1));
  EXPECT_EQ(index.find(id_of(1)).error().code, ErrorCode::kIo);
  EXPECT_TRUE(index.revoke(id_of(1)));
  EXPECT_EQ(*index.find(id_of(1)), nullptr);
  EXPECT_TRUE(index.revoke(id_of(1)));
  index.mark_stored({id_of(1)});
  EXPECT_FALSE(index.revoke(id_of(1)));
}

}  // namespace
}  // namespace culvert::hub
