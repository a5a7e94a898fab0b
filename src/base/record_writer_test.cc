#include "base/record_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/full_disk.h"

namespace culvert {
namespace {

using namespace std::chrono_literals;

class RecordWriterTest : public ::testing::Test {
 protected:
  RecordWriterTest() {
    std::string name = (std::filesystem::temp_directory_path() / "records-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    path_ = directory_ / "access.json";
  }
  ~RecordWriterTest() override { std::filesystem::remove_all(directory_); }

  static std::string text_of(const std::filesystem::path& path) {
    auto content = read_file(path, 64 * 1024 * 1024);
    return content ? std::string(as_text(*content)) : content.error().message;
  }
  void drained(RecordWriter& writer) { EXPECT_TRUE(writer.drain(10s)); }

  std::filesystem::path directory_;
  std::filesystem::path path_;
};

TEST_F(RecordWriterTest, LinesGoToTheEndOfAPrivateFile) {
  RecordWriter writer;
  writer.write("nowhere\n");
  ASSERT_TRUE(writer.open(path_));
  writer.write("a\n");
  writer.write("b\n");
  drained(writer);
  EXPECT_EQ(text_of(path_), "a\nb\n");
  EXPECT_EQ(writer.written(), 2u);
  EXPECT_EQ(std::filesystem::status(path_).permissions() & std::filesystem::perms::others_all,
            std::filesystem::perms::none);
  // Another process, as after an upgrade.
  RecordWriter other;
  ASSERT_TRUE(other.open(path_));
  other.write("c\n");
  drained(other);
  writer.write("d\n");
  drained(writer);
  EXPECT_EQ(text_of(path_), "a\nb\nc\nd\n");
}

TEST_F(RecordWriterTest, ARenamedFileIsReplacedWithoutALoss) {
  RecordWriter writer;
  ASSERT_TRUE(writer.open(path_));
  std::jthread thread([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) writer.write("x\n");
  });
  for (int i = 0; i < 20; ++i) {
    std::filesystem::rename(path_, directory_ / std::to_string(i));
    ASSERT_TRUE(writer.open(path_));
  }
  thread.request_stop();
  thread.join();
  drained(writer);
  size_t bytes = 0;
  for (const auto& each : std::filesystem::directory_iterator(directory_)) bytes += each.file_size();
  EXPECT_EQ(bytes, 2 * writer.written());
  EXPECT_EQ(writer.lost_write_failed(), 0u);
}

TEST_F(RecordWriterTest, WhatCannotBeOpenedChangesNothing) {
  RecordWriter writer;
  const auto missing = writer.open(directory_ / "missing" / "file");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("cannot open "), std::string::npos);
  EXPECT_FALSE(writer.is_open());
  ASSERT_TRUE(writer.open(path_));
  EXPECT_FALSE(writer.open(directory_));
  writer.write("a\n");
  drained(writer);
  EXPECT_EQ(text_of(path_), "a\n");
  ASSERT_TRUE(writer.open(""));
  EXPECT_FALSE(writer.is_open());
}

TEST_F(RecordWriterTest, AFullQueueLosesLinesAndCountsThem) {
  RecordWriter writer(10);
  ASSERT_TRUE(writer.open(path_));
  writer.write("longer than the queue\n");
  for (int i = 0; i < 1000; ++i) writer.write("123456\n");
  drained(writer);
  EXPECT_GT(writer.lost_queue_full(), 1u);
  EXPECT_EQ(writer.written() + writer.lost_queue_full(), 1001u);
  EXPECT_EQ(text_of(path_).size(), 7 * writer.written());
}

TEST_F(RecordWriterTest, AFullDiskIsSaidOnceAndItsLinesAreCounted) {
  RecordWriter writer;
  ::testing::internal::CaptureStderr();
  ASSERT_TRUE(writer.open("/dev/full"));
  for (int i = 0; i < 3; ++i) {
    writer.write("x\n");
    drained(writer);
  }
  EXPECT_TRUE(writer.is_failing());
  EXPECT_EQ(writer.lost_write_failed(), 3u);
  ASSERT_TRUE(writer.open(path_));
  {
    const FullDisk full;
    writer.write("y\n");
    drained(writer);
  }
  writer.write("z\n");
  drained(writer);
  EXPECT_FALSE(writer.is_failing());
  EXPECT_EQ(writer.lost_write_failed(), 4u);
  EXPECT_EQ(text_of(path_), "z\n");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("event=access_log_failed"), log.rfind("event=access_log_failed")) << log;
  EXPECT_NE(log.find("event=access_log_recovered lost=4"), std::string::npos) << log;
}

TEST_F(RecordWriterTest, ARemovedDirectoryIsNoticedAndComesBack) {
  RecordWriter writer;
  ASSERT_TRUE(writer.open(path_));
  ::testing::internal::CaptureStderr();
  std::filesystem::remove_all(directory_);
  writer.write("a\n");
  drained(writer);
  EXPECT_EQ(writer.lost_write_failed(), 1u);
  std::filesystem::create_directory(directory_);
  writer.write("b\n");
  drained(writer);
  EXPECT_EQ(text_of(path_), "b\n");
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("event=access_log_failed"), std::string::npos);
}

}  // namespace
}  // namespace culvert
