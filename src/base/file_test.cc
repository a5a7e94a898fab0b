#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/full_disk.h"

namespace culvert {
namespace {

namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat status;
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

class FileTest : public testing::Test {
 protected:
  FileTest() {
    std::string name = (fs::temp_directory_path() / "culvert-file-test-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~FileTest() override { fs::remove_all(dir_); }

  std::string text(const fs::path& path) {
    auto content = read_file(path, 1 << 20);
    return content ? std::string(as_text(*content)) : content.error().message;
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()));
  }

  fs::path dir_;
};

TEST_F(FileTest, APipeIsReadToItsEndAndASilentOneIsGivenUp) {
  const fs::path path = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] {
    std::ofstream out(path);
    out << "hello" << std::flush;
  });
  const auto read = read_file(path, 100);
  writer.join();
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(as_text(*read), "hello");
  const auto silent = read_file(path, 100);
  ASSERT_FALSE(silent);
  EXPECT_NE(silent.error().message.find("no data came from it"), std::string::npos) << silent.error().message;
}

TEST_F(FileTest, LinesAreGivenOneAfterAnother) {
  const fs::path path = dir_ / "lines";
  const std::string longest(100'000, 'x');
  std::vector<std::string> written = {"", "a", longest, "", "b"}, read;
  std::string content;
  for (const auto& line : written) content += line + "\n";
  ASSERT_TRUE(replace_file(path, as_bytes(content + "no end"), 0600));
  const auto keep = [&](std::string_view line) -> Result<> {
    read.emplace_back(line);
    if (line == "b") return fail(ErrorCode::kClosed, "enough");
    return {};
  };
  EXPECT_EQ(read_lines(path, longest.size(), keep).error().code, ErrorCode::kClosed);
  EXPECT_EQ(read, written);
  std::ofstream(path, std::ios::app) << std::string(300'000, 'y');
  EXPECT_EQ(read_lines(path, longest.size(), [](auto) -> Result<> { return {}; }).error().code,
            ErrorCode::kLimit);
  EXPECT_EQ(read_lines(dir_ / "absent", 10, keep).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read_lines(dir_, 10, keep).error().code, ErrorCode::kIo);
}

TEST_F(FileTest, ReadTellsItsErrorsApart) {
  EXPECT_EQ(read_file(dir_ / "absent", 10).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read_file(dir_, 10).error().code, ErrorCode::kIo);
  EXPECT_EQ(read_file(dir_ / "absent" / "x", 10).error().code, ErrorCode::kNotFound);
  std::ofstream(dir_ / "ten") << "0123456789";
  EXPECT_EQ(as_text(*read_file(dir_ / "ten", 10)), "0123456789");
  auto too_long = read_file(dir_ / "ten", 9);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kLimit);
  EXPECT_NE(too_long.error().message.find("ten is longer than 9 bytes"), std::string::npos);
  std::ofstream(dir_ / "empty").flush();
  EXPECT_EQ(read_file(dir_ / "empty", 0)->size(), 0u);
}

TEST_F(FileTest, ReadsAFileOfManySteps) {
  const std::string big(300 * 1024 + 17, 'b');
  std::ofstream(dir_ / "big") << big;
  EXPECT_EQ(text(dir_ / "big"), big);
  EXPECT_EQ(read_file(dir_ / "big", big.size() - 1).error().code, ErrorCode::kLimit);
  // A device has no size to ask for and no end: the cap is what stops it.
  EXPECT_EQ(read_file("/dev/zero", 100'000).error().code, ErrorCode::kLimit);
}

TEST_F(FileTest, ErrorsNameTheFileAndTheReason) {
  fs::create_symlink("loop", dir_ / "loop");
  auto loop = read_file(dir_ / "loop", 10);
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().code, ErrorCode::kIo);
  EXPECT_EQ(loop.error().message,
            "cannot open " + (dir_ / "loop").native() + ": Too many levels of symbolic links");
}

TEST_F(FileTest, CreatePrivateIsPrivateWhateverTheUmask) {
  const mode_t before = ::umask(0);
  EXPECT_TRUE(create_private_file(dir_ / "key", as_bytes("secret")));
  ::umask(0777);
  EXPECT_TRUE(create_private_file(dir_ / "key2", as_bytes("secret")));
  ::umask(before);
  EXPECT_EQ(mode_of(dir_ / "key"), 0600u);
  EXPECT_EQ(mode_of(dir_ / "key2"), 0600u);
  EXPECT_EQ(text(dir_ / "key"), "secret");
}

TEST_F(FileTest, CreatePrivateNeverReplaces) {
  ASSERT_TRUE(create_private_file(dir_ / "key", as_bytes("first")));
  auto second = create_private_file(dir_ / "key", as_bytes("second"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_EQ(text(dir_ / "key"), "first");
  fs::create_symlink(dir_ / "nowhere", dir_ / "link");
  EXPECT_EQ(create_private_file(dir_ / "link", as_bytes("x")).error().code, ErrorCode::kConflict);
  EXPECT_FALSE(fs::exists(dir_ / "nowhere"));
  EXPECT_EQ(entries(), 2u) << "a draft was left behind";
  EXPECT_EQ(create_private_file(dir_ / "absent" / "key", as_bytes("x")).error().code, ErrorCode::kIo);
}

TEST_F(FileTest, OneOfManyCreatorsWins) {
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (char name = 'a'; name < 'i'; ++name) {
    threads.emplace_back([this, &winners, content = std::string(1000, name)] {
      winners += create_private_file(dir_ / "key", as_bytes(content)).has_value();
      const std::string seen = text(dir_ / "key");
      EXPECT_EQ(seen, std::string(1000, seen.empty() ? '?' : seen[0])) << "a reader saw half a file";
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, ReplaceSwapsTheWholeFile) {
  ASSERT_TRUE(replace_file(dir_ / "root.pem", as_bytes("old, and longer"), 0644));
  EXPECT_EQ(mode_of(dir_ / "root.pem"), 0644u);
  std::ifstream reader(dir_ / "root.pem");
  ASSERT_TRUE(replace_file(dir_ / "root.pem", as_bytes("new"), 0600));
  EXPECT_EQ(mode_of(dir_ / "root.pem"), 0600u);
  EXPECT_EQ(text(dir_ / "root.pem"), "new");
  std::string seen;
  std::getline(reader, seen);
  EXPECT_EQ(seen, "old, and longer") << "a process that had it open keeps the old file";
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, ReplaceLeavesNothingBehindWhenItFails) {
  fs::create_directory(dir_ / "taken");
  std::ofstream(dir_ / "taken" / "x") << "x";
  EXPECT_EQ(replace_file(dir_ / "taken", as_bytes("x"), 0600).error().code, ErrorCode::kIo);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, PrivateDirectories) {
  EXPECT_TRUE(create_private_directory(dir_ / "a" / "b" / "c"));
  for (auto path : {"a", "a/b", "a/b/c"}) EXPECT_EQ(mode_of(dir_ / path), 0700u) << path;
  EXPECT_TRUE(create_private_directory(dir_ / "a" / "b" / "c"));
  EXPECT_TRUE(create_private_directory(dir_ / "d" / ""));
  fs::create_directory_symlink(dir_ / "a", dir_ / "link");
  EXPECT_TRUE(create_private_directory(dir_ / "link"));
  EXPECT_TRUE(create_private_directory("/"));
  EXPECT_TRUE(create_private_directory("."));
}

TEST_F(FileTest, ADirectoryThatIsAFile) {
  std::ofstream(dir_ / "file") << "x";
  for (const fs::path& path : {dir_ / "file", dir_ / "file" / "sub"}) {
    auto made = create_private_directory(path);
    ASSERT_FALSE(made) << path;
    EXPECT_EQ(made.error().code, ErrorCode::kIo);
    EXPECT_NE(made.error().message.find("Not a directory"), std::string::npos) << made.error().message;
  }
  EXPECT_EQ(create_private_directory("").error().code, ErrorCode::kIo);
}

TEST_F(FileTest, DraftsOfAnInterruptedWriteAreRemoved) {
  for (const char* name :
       {"key.draft-a1B2c3", "other.draft-a1B2c3", "key.backup", "key", "mykey.draft-a1B2c3"}) {
    std::ofstream(dir_ / name) << "x";
  }
  remove_drafts(dir_ / "key", std::chrono::minutes(1));
  EXPECT_EQ(entries(), 5u) << "another process may be writing it";
  remove_drafts(dir_ / "key", Duration::zero());
  EXPECT_FALSE(fs::exists(dir_ / "key.draft-a1B2c3"));
  EXPECT_EQ(entries(), 4u) << "something else was removed";
  remove_drafts(dir_ / "absent" / "key", Duration::zero());
  const auto hours_ago = fs::last_write_time(dir_ / "key") - std::chrono::hours(2);
  std::ofstream(dir_ / "key.draft-a1B2c3") << "x";
  fs::last_write_time(dir_ / "key.draft-a1B2c3", hours_ago);
  EXPECT_TRUE(replace_file(dir_ / "key", as_bytes("y"), 0600));
  EXPECT_EQ(entries(), 4u);
}

TEST_F(FileTest, PrivateFilesLoseTheRightsOfOthers) {
  std::ofstream(dir_ / "key") << "secret";
  for (mode_t mode : {0644u, 0640u, 0666u, 0601u, 0610u}) {
    ASSERT_EQ(::chmod((dir_ / "key").c_str(), mode), 0);
    auto changed = make_private(dir_ / "key");
    ASSERT_TRUE(changed) << changed.error().message;
    EXPECT_TRUE(*changed);
    EXPECT_EQ(mode_of(dir_ / "key"), 0600u) << mode;
    EXPECT_EQ(make_private(dir_ / "key"), false);
  }
  ASSERT_EQ(::chmod((dir_ / "key").c_str(), 0400), 0);
  EXPECT_EQ(make_private(dir_ / "key"), false);
  EXPECT_EQ(mode_of(dir_ / "key"), 0400u);
  EXPECT_EQ(make_private(dir_ / "absent"), false);
}

TEST_F(FileTest, DirectoriesThatOthersWriteToAreNamed) {
  for (mode_t mode : {0700u, 0755u, 0500u}) {
    ASSERT_EQ(::chmod(dir_.c_str(), mode), 0);
    EXPECT_TRUE(check_only_owner_writes(dir_)) << mode;
  }
  for (mode_t mode : {0777u, 01777u, 0770u, 0702u}) {
    ASSERT_EQ(::chmod(dir_.c_str(), mode), 0);
    auto checked = check_only_owner_writes(dir_);
    ASSERT_FALSE(checked) << mode;
    EXPECT_EQ(checked.error().code, ErrorCode::kInvalid);
    EXPECT_NE(checked.error().message.find("`chmod go-w " + dir_.native() + "`"), std::string::npos)
        << checked.error().message;
    EXPECT_EQ(mode_of(dir_), mode) << "a directory may be another's, it is not changed";
  }
  ASSERT_EQ(::chmod(dir_.c_str(), 0700), 0);
  EXPECT_EQ(check_only_owner_writes(dir_ / "absent").error().code, ErrorCode::kIo);
}

TEST_F(FileTest, AFileKeepsItsIdentityAndSharesItWithNoOther) {
  const fs::path path = dir_ / "file", other = dir_ / "other";
  EXPECT_EQ(file_identity(path).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(create_private_file(path, as_bytes("one")));
  const std::ifstream open(path);  // an inode without a user may be given to the next file
  const FileIdentity identity = file_identity(path).value();
  fs::rename(path, other);
  EXPECT_TRUE(file_identity(other).value() == identity);
  ASSERT_TRUE(create_private_file(path, as_bytes("one")));
  EXPECT_FALSE(file_identity(path).value() == identity);
  fs::remove(other);
  fs::create_symlink(path, other);
  EXPECT_TRUE(file_identity(other).value() == file_identity(path).value());
}

TEST_F(FileTest, ALockNeedsNoRoom) {
  std::ofstream(dir_ / "lock") << "123456\n";
  FullDisk full;
  auto lock = FileLock::take(dir_ / "lock");
  ASSERT_TRUE(lock) << lock.error().message;
  EXPECT_EQ(FileLock::take(dir_ / "lock").error().message, "unknown pid")
      << "not the pid of an earlier holder";
}

TEST_F(FileTest, ALockHasOneHolder) {
  {
    auto first = FileLock::take(dir_ / "lock");
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(mode_of(dir_ / "lock"), 0600u);
    EXPECT_EQ(text(dir_ / "lock"), std::to_string(::getpid()) + "\n");
    auto second = FileLock::take(dir_ / "lock");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    EXPECT_EQ(second.error().message, "pid " + std::to_string(::getpid()));
    FileLock moved = std::move(*first);
    EXPECT_FALSE(FileLock::take(dir_ / "lock")) << "moving must not let go";
  }
  std::ofstream(dir_ / "lock") << "99999999 left by one that was killed\n";
  EXPECT_TRUE(FileLock::take(dir_ / "lock"));
  EXPECT_EQ(FileLock::take(dir_ / "absent" / "lock").error().code, ErrorCode::kIo);
}

TEST_F(FileTest, OnlyRegularFilesAreReplaced) {
  const auto pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  auto replaced = replace_file(pipe, as_bytes("x"), 0644);
  ASSERT_FALSE(replaced.has_value());
  EXPECT_EQ(replaced.error().code, ErrorCode::kIo);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(FileTest, AddsToFilesThatAreThereAndCutsThem) {
  const auto path = dir_ / "log";
  EXPECT_EQ(append_to_file(path, as_bytes("x")).error().code, ErrorCode::kIo);
  EXPECT_EQ(truncate_file(path, 0).error().code, ErrorCode::kIo);
  std::ofstream(path) << "one";
  ASSERT_TRUE(append_to_file(path, as_bytes("two")));
  EXPECT_EQ(text(path), "onetwo");
  ASSERT_TRUE(truncate_file(path, 4));
  EXPECT_EQ(text(path), "onet");
}

}  // namespace
}  // namespace culvert
