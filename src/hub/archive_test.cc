#include "hub/archive.h"

#include <gtest/gtest.h>

#include "hub/hubs.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using testing::DatabaseKind;

RecordDatabase::Archive example() {
  RecordDatabase::Archive archive{.revision = 12};
  SeededRandom random(3);
  archive.hash_key = SecretBytes<RecordDatabase::kHashKeySize>::random(random);
  for (int i = 0; i < 20; ++i)
    archive.records.push_back(
        {.kind = "thing", .key = fmt::format("{:02}", i), .body = R"({"a":"\u0000 ☃ \\n"})"});
  for (uint64_t i = 0; i < 5; ++i) {
    archive.audit.push_back({.sequence = 3 * i + 1,
                             .at = UnixTime(std::chrono::seconds(1'700'000'000 + i)),
                             .actor = "o'neill",
                             .action = "thing.make",
                             .subject = "☃",
                             .before = "",
                             .after = "{}"});
  }
  return archive;
}

TEST(ArchiveTest, IsReadAsItWasWritten) {
  const auto archive = example();
  const SecretString text = encode_archive(archive);
  auto read = decode_archive(text.expose());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->revision, 12u);
  EXPECT_TRUE(read->hash_key == archive.hash_key);
  EXPECT_EQ(read->records, archive.records);
  EXPECT_EQ(encode_archive(*read).expose(), text.expose());
}

TEST(ArchiveTest, IsRefusedWhenItWasCutAnywhere) {
  const SecretString text = encode_archive(example());
  for (size_t size = 0; size < text.expose().size(); ++size) {
    auto read = decode_archive(std::string_view(text.expose()).substr(0, size));
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
  }
}

TEST(ArchiveTest, IsRefusedWhenAByteWasChanged) {
  const SecretString text = encode_archive(example());
  SeededRandom random(9);
  for (int i = 0; i < 500; ++i) {
    std::string changed = text.expose();
    char& byte = changed[random.below(changed.size())];
    byte = static_cast<char>(byte ^ static_cast<char>(1 + random.below(255)));
    EXPECT_FALSE(decode_archive(changed));
  }
}

TEST(ArchiveTest, ANewerVersionIsRefusedByItsNumber) {
  auto read = decode_archive("{\"culvert_hub_export\":7}\n");
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("version 7"), std::string::npos) << read.error().message;
  EXPECT_FALSE(decode_archive("no export\n"));
}

// Three records for each number.
net::Task<> write_numbers(Ledger& ledger, const bool& is_ending, int& accepted) {
  int number = 0;
  while (!is_ending) {
    Batch batch;
    for (const char* part : {"a", "b", "c"})
      batch.records.push_back({.kind = "number", .key = fmt::format("{}-{}", number, part), .body = "{}"});
    auto written =
        co_await ledger.commit({.touches = {"x"}, .judge = [&]() -> Result<Batch> { return batch; }});
    EXPECT_TRUE(written) << written.error().message;
    accepted = ++number;
  }
}

class ArchiveDatabaseTest : public testing::AnyStoreFixture {};
CULVERT_ON_EACH_DATABASE(ArchiveDatabaseTest);

TEST_P(ArchiveDatabaseTest, EverythingMovesFromAnyDatabaseToAnyOther) {
  Invite invite = make_invite({"a.eu"}), revoked = make_invite({"b.eu"});
  auto source = must_open();
  ASSERT_TRUE(source->add_invite(invite, kNow));
  ASSERT_TRUE(source->add_invite(revoked, kNow));
  ASSERT_TRUE(source->revoke_invite(revoked.id));
  auto database = open_database().value();
  auto archive = database->read_archive();
  ASSERT_TRUE(archive) << archive.error().message;
  EXPECT_TRUE(std::ranges::equal(archive->hash_key.expose(), source->hash_key()));
  EXPECT_EQ(archive->audit.size(), 1u);
  EXPECT_TRUE(
      std::ranges::none_of(archive->records, [](const Record& each) { return each.kind == Hubs::kKind; }));

  const auto copy = decode_archive(encode_archive(*archive).expose()).value();
  std::vector<std::unique_ptr<RecordDatabase>> targets;
  targets.push_back(SqliteDatabase::open(directory_ / "copy.db", random_, 2s).value());
  if (server_ != nullptr) {
    targets.push_back(PostgresDatabase::open(server_->make_database(), random_,
                                             {.connect = 2s, .lock = 2s, .statement = 10s})
                          .value());
  }
  for (auto& target : targets) {
    auto written = target->write_archive(copy, true);
    ASSERT_TRUE(written) << written.error().message;
    auto back = target->read_archive();
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->records, archive->records);
    EXPECT_TRUE(back->hash_key == archive->hash_key);
    EXPECT_TRUE(std::ranges::equal(target->hash_key(), source->hash_key()));
    ASSERT_EQ(back->audit.size(), 1u);
    EXPECT_EQ(back->audit[0].sequence, archive->audit[0].sequence);
    ASSERT_EQ(target->commit(back->revision, {.audit = {{.action = "later"}}}, 5)->revision,
              back->revision + 1);
    EXPECT_GT(target->audit(std::nullopt, 1)->front().sequence, archive->audit[0].sequence);
    auto again = target->write_archive(copy, true);
    ASSERT_FALSE(again) << "it is not empty";
    EXPECT_EQ(again.error().code, ErrorCode::kConflict);
    EXPECT_TRUE(target->write_archive(copy, false));
    EXPECT_EQ(target->audit(std::nullopt, 10)->size(), 1u);
  }
}

// A backup that is taken while the hub writes holds what was accepted before it began, and no half of a
// change.
TEST_P(ArchiveDatabaseTest, ABackupUnderAWriteLoadIsWhole) {
  auto store = must_open();
  auto reader = open_database().value();
  net::TaskGroup tasks(loop_);
  bool is_ending = false;
  int accepted = 0;
  tasks.spawn(write_numbers(store->ledger(), is_ending, accepted));
  for (int round = 0; round < 10; ++round) {
    const int before = accepted;
    net::testing::run_until(loop_, [&] { return accepted > before + 3; });
    const int at_least = accepted;
    std::optional<Result<RecordDatabase::Archive>> archive;
    std::thread backup([&] { archive = reader->read_archive(); });
    const int during = accepted;
    net::testing::run_until(loop_, [&] { return accepted > during + 1; });
    backup.join();
    ASSERT_TRUE(*archive) << archive->error().message;
    std::map<int, int> parts;
    for (const Record& record : (*archive)->records) ++parts[std::stoi(record.key)];
    for (const auto& [number, count] : parts) EXPECT_EQ(count, 3) << number;
    EXPECT_GE(parts.size(), static_cast<size_t>(at_least));
    auto restored =
        SqliteDatabase::open(directory_ / fmt::format("restored{}.db", round), random_, 2s).value();
    ASSERT_TRUE(restored->write_archive(**archive, true));
    EXPECT_EQ(restored->load()->records, (*archive)->records);
  }
  is_ending = true;
  net::testing::run_until(loop_, [&] { return tasks.size() == 0; });
}

// Hubs that run see that all was replaced.
TEST_P(ArchiveDatabaseTest, WhoFollowsReadsEverythingAfterAnImport) {
  auto database = open_database().value();
  ASSERT_TRUE(database->commit(0, {.records = {{.kind = "thing", .key = "a", .body = "{}"}}}, 1));
  auto archive = database->read_archive().value();
  ASSERT_TRUE(database->commit(1, {.records = {{.kind = "thing", .key = "b", .body = "{}"}}}, 2));
  ASSERT_TRUE(database->write_archive(archive, false));
  auto moved = database->commit(2, {.records = {{.kind = "thing", .key = "c", .body = "{}"}}}, 3);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_TRUE(moved->has_moved);
  EXPECT_TRUE(moved->is_complete);
  EXPECT_EQ(moved->newer, archive.records);
}

}  // namespace
}  // namespace culvert::hub
