#include "acme/file_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

namespace culvert::acme {
namespace {

namespace fs = std::filesystem;

class FileStoreTest : public ::testing::Test {
 public:
  FileStoreTest() {
    std::string name = (fs::temp_directory_path() / "culvert-acme-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  ~FileStoreTest() override { fs::remove_all(directory_); }

  FileStore open() { return FileStore::open(directory_ / "acme").value(); }
  static unsigned mode_of(const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }

  fs::path directory_;
};

TEST_F(FileStoreTest, KeepsAccounts) {
  const std::string directory = "https://acme.example/directory";
  const Account account{.key = tls::P256Key::generate(), .url = "https://acme.example/acct/1"};
  {
    FileStore store = open();
    EXPECT_FALSE(store.load_account(directory).value());
    ASSERT_TRUE(store.save_account(directory, account));
    ASSERT_TRUE(store.save_account("https://[::1]:14000/dir", account));
  }
  FileStore store = open();
  const auto again = store.load_account(directory).value();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->url, account.url);
  EXPECT_EQ(again->key.point().x, account.key.point().x);
  EXPECT_FALSE(store.load_account("https://acme.example/other").value()) << "each CA has its own";
  EXPECT_THAT(store.account_directories().value(),
              ::testing::UnorderedElementsAre(directory, "https://[::1]:14000/dir"));
  for (const auto& entry : fs::directory_iterator(directory_ / "acme/accounts"))
    EXPECT_EQ(mode_of(entry.path()), 0600u);
  EXPECT_EQ(mode_of(directory_ / "acme/accounts"), 0700u);
}

TEST_F(FileStoreTest, KeepsRecords) {
  FileStore store = open();
  const std::string long_name = std::string(60, 'a') + "." + std::string(60, 'b') + "." +
                                std::string(60, 'c') + "." + std::string(60, 'd') + ".test";
  const std::vector<std::string> names{"a.test", "*.a.test", "_wildcard.a.test", long_name};
  for (const std::string& name : names) {
    EXPECT_FALSE(store.load(name).value());
    ASSERT_TRUE(store.save({.name = name, .progress = {.failures = 2}}));
    EXPECT_EQ(store.load(name).value()->progress.failures, 2u) << name;
    EXPECT_EQ(mode_of(store.path_of(name).value()), 0600u);
  }
  EXPECT_THAT(store.names().value(), ::testing::UnorderedElementsAreArray(names));
  ASSERT_TRUE(store.remove("*.a.test"));
  ASSERT_TRUE(store.remove("*.a.test")) << "twice is once";
  EXPECT_FALSE(store.load("*.a.test").value());
  EXPECT_TRUE(store.load("a.test").value());
}

TEST_F(FileStoreTest, NamesAreNoPaths) {
  FileStore store = open();
  for (const std::string name :
       {"", ".", "..", "../a", "a/b", "/etc/passwd", "A.test", "*", "*.*.a", "a b"}) {
    EXPECT_FALSE(store.path_of(name)) << name;
    EXPECT_FALSE(store.save({.name = name}));
    EXPECT_FALSE(store.load(name));
    EXPECT_FALSE(store.remove(name));
  }
}

TEST_F(FileStoreTest, DamagedFilesAreKeptAside) {
  FileStore store = open();
  const fs::path path = store.path_of("a.test").value();
  for (const std::string text : {"", "{", R"({"name":"b.test","progress":{}})"}) {
    std::ofstream(path) << text;
    EXPECT_FALSE(store.load("a.test").value());
    EXPECT_FALSE(fs::exists(path));
    std::ifstream aside(path.native() + ".damaged");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(aside), {}), text);
  }
  EXPECT_TRUE(store.names().value().empty());
  const std::string directory = "https://acme.example/directory";
  ASSERT_TRUE(store.save_account(directory, {.key = tls::P256Key::generate()}));
  const fs::path account = fs::directory_iterator(directory_ / "acme/accounts")->path();
  std::ofstream(account) << "{}";
  EXPECT_FALSE(store.load_account(directory).value());
  EXPECT_TRUE(fs::exists(account.native() + ".damaged"));
}

TEST_F(FileStoreTest, OthersLoseWhatTheyMayRead) {
  FileStore store = open();
  ASSERT_TRUE(store.save({.name = "a.test"}));
  const fs::path path = store.path_of("a.test").value();
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(store.load("a.test").value());
  EXPECT_EQ(mode_of(path), 0600u);
  ASSERT_EQ(::chmod((directory_ / "acme/names").c_str(), 0777), 0);
  EXPECT_FALSE(FileStore::open(directory_ / "acme"));
}

TEST_F(FileStoreTest, KeepsBudgets) {
  FileStore store = open();
  EXPECT_EQ(store.load_budgets().value(), "");
  ASSERT_TRUE(store.save_budgets("{}"));
  EXPECT_EQ(open().load_budgets().value(), "{}");
}

}  // namespace
}  // namespace culvert::acme
