#include "node/hub_archive.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "hub/record_store.h"
#include "node/data_dir.h"

namespace culvert::node {
namespace {

namespace fs = std::filesystem;

class HubArchiveTest : public ::testing::Test {
 protected:
  HubArchiveTest() {
    std::string name = (fs::temp_directory_path() / "culvert-archive-XXXXXX").native();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  ~HubArchiveTest() override { fs::remove_all(root_); }

  HubDatabase place(const char* name) { return {.data_dir = root_ / name}; }
  void fill(const char* name) {
    const DataDir files{root_ / name};
    ASSERT_TRUE(files.create());
    auto database = hub::open_database(files.database(), {}, random_).value();
    ASSERT_TRUE(
        database->commit(0, {.records = {{.kind = "thing", .key = "a", .body = "{}"}}, .audit = {{}}}, 1));
  }

  fs::path root_;
  SystemRandom random_;
};

TEST_F(HubArchiveTest, MovesAHubToAnotherDirectory) {
  fill("one");
  auto text = export_hub(place("one"));
  ASSERT_TRUE(text) << text.error().message;
  auto imported = import_hub(place("other"), text->expose(), false);
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(imported->records, 1u);
  EXPECT_EQ(imported->audit_entries, 1u);
  const fs::path file = DataDir{root_ / "other"}.database();
  EXPECT_EQ(fs::status(file).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  auto again = import_hub(place("other"), text->expose(), false);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_NE(again.error().message.find("--replace"), std::string::npos) << again.error().message;
  EXPECT_TRUE(import_hub(place("other"), text->expose(), true));
}

TEST_F(HubArchiveTest, ExportsWhileANodeRunsAndImportsOnlyWhenNoneDoes) {
  fill("one");
  auto lock = DataDir{root_ / "one"}.take_lock();
  ASSERT_TRUE(lock);
  auto text = export_hub(place("one"));
  ASSERT_TRUE(text) << text.error().message;
  auto imported = import_hub(place("one"), text->expose(), true);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().code, ErrorCode::kConflict);
  EXPECT_NE(imported.error().message.find("another node"), std::string::npos) << imported.error().message;
}

TEST_F(HubArchiveTest, WhatIsNotThereIsNotMade) {
  auto text = export_hub(place("absent"));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(fs::exists(root_ / "absent"));
  auto imported = import_hub(place("absent"), "no export", false);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().code, ErrorCode::kInvalid);
  EXPECT_FALSE(fs::exists(root_ / "absent")) << "a file that is no export changes nothing";
}

TEST_F(HubArchiveTest, AWrongDatabaseIsNamed) {
  auto text =
      export_hub({.data_dir = root_ / "x", .url = SecretString("postgres://u:secret@127.0.0.1:1/hub")});
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("\"hub\" at 127.0.0.1:1"), std::string::npos) << text.error().message;
  EXPECT_EQ(text.error().message.find("secret"), std::string::npos) << text.error().message;
}

TEST_F(HubArchiveTest, TheDatabaseMayBeElsewhere) {
  fill("one");
  const auto text = export_hub(place("one")).value();
  HubDatabase elsewhere = place("two");
  elsewhere.places.database = root_ / "elsewhere.db";
  ASSERT_TRUE(import_hub(elsewhere, text.expose(), false));
  EXPECT_TRUE(fs::exists(root_ / "elsewhere.db"));
  EXPECT_FALSE(fs::exists(root_ / "two" / "hub.db"));
  const auto again = export_hub(elsewhere).value();
  EXPECT_NE(again.expose().find(R"("kind":"thing")"), std::string_view::npos);
  // A node with another data directory has it.
  auto lock = DataDir{root_ / "three", elsewhere.places}.take_database_lock();
  ASSERT_TRUE(lock && *lock);
  auto imported = import_hub(elsewhere, text.expose(), true);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().code, ErrorCode::kConflict);
  EXPECT_NE(imported.error().message.find("choose another --database"), std::string::npos);
}

TEST_F(HubArchiveTest, AFileElsewhereIsInADirectoryThatOthersDoNotWriteTo) {
  const fs::path shared = root_ / "shared";
  fs::create_directory(shared);
  fs::permissions(shared, fs::perms::all);
  for (auto place :
       {&FilePlaces::node_key, &FilePlaces::operator_key, &FilePlaces::database, &FilePlaces::routes}) {
    DataDir files{root_ / "five"};
    files.places.*place = shared / "file";
    const auto created = files.create();
    ASSERT_FALSE(created);
    EXPECT_NE(created.error().message.find("choose another place for"), std::string::npos)
        << created.error().message;
  }
  fs::permissions(shared, fs::perms::owner_all);
  EXPECT_TRUE((DataDir{root_ / "five", {.node_key = shared / "file"}}.create()));
}

}  // namespace
}  // namespace culvert::node
