#include "base/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <utility>
#include <vector>

namespace culvert {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLong = 30s;

std::string report(uint64_t lines) { return fmt::format("lost {}\n", lines); }

// A pipe that holds one page, without a reader until take().
class Pipe {
 public:
  Pipe() {
    std::signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(pipe2(ends_.data(), O_CLOEXEC), 0);
    EXPECT_GT(fcntl(ends_[1], F_SETPIPE_SZ, 4096), 0);
  }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  Pipe(const Pipe&) = delete;

  int writer() const { return ends_[1]; }
  void close_reader() { ::close(std::exchange(ends_[0], -1)); }
  void close_writer() { ::close(std::exchange(ends_[1], -1)); }
  // Reads until `end` has come.
  std::string take(std::string_view end) {
    std::string got;
    while (!got.ends_with(end)) {
      std::array<char, 4096> buffer;
      const ssize_t size = ::read(ends_[0], buffer.data(), buffer.size());
      if (size <= 0) return got + "(end)";
      got.append(buffer.data(), static_cast<size_t>(size));
    }
    return got;
  }
  // Takes everything that ever comes, on a thread of its own.
  std::jthread take_all(std::string& got) {
    return std::jthread([this, &got] {
      std::array<char, 4096> buffer;
      ssize_t size = 0;
      while ((size = ::read(ends_[0], buffer.data(), buffer.size())) > 0)
        got.append(buffer.data(), static_cast<size_t>(size));
    });
  }

 private:
  std::array<int, 2> ends_{};
};

TEST(Output, WritesAtOnceWithoutAThread) {
  Pipe pipe;
  Output output(pipe.writer(), report);
  output.write("one\ntwo\n");
  output.write("three\n");
  EXPECT_EQ(pipe.take("three\n"), "one\ntwo\nthree\n");
  EXPECT_TRUE(output.drain(0s));
  EXPECT_EQ(output.error(), 0);
}

// Checks that `text` is line 0, line 1, ... with reports in place of the lines that are missing, and returns
// how many lines that makes.
uint64_t count_in_order(const std::string& text) {
  uint64_t next = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    unsigned long lost = 0;
    if (std::sscanf(line.c_str(), "lost %lu", &lost) == 1) {
      next += lost;
    } else {
      EXPECT_EQ(line, fmt::format("line {}", next));
      ++next;
    }
  }
  return next;
}

TEST(Output, AStuckReaderDelaysNobodyAndLearnsHowMuchItMissed) {
  constexpr uint64_t kLines = 20'000;
  Pipe pipe;
  std::string got;
  {
    Output output(pipe.writer(), report, 16 * 1024);
    output.start_thread();
    for (uint64_t i = 0; i < kLines; ++i) output.write(fmt::format("line {}\n", i));
    EXPECT_FALSE(output.drain(10ms));
    auto reader = pipe.take_all(got);
    // The report does not wait for another line.
    EXPECT_TRUE(output.drain(kLong));
    output.write(fmt::format("line {}\n", kLines));
    EXPECT_TRUE(output.drain(kLong));
    pipe.close_writer();
    reader.join();
    EXPECT_EQ(output.error(), 0);
  }
  EXPECT_NE(got.find("lost "), std::string::npos);
  EXPECT_LE(got.size(), 2u * 16 * 1024 + 4096 + 100);
  EXPECT_EQ(count_in_order(got), kLines + 1);
}

TEST(Output, LinesOfManyThreadsArriveWholeAndInOrder) {
  constexpr int kThreads = 4, kLines = 500;
  Pipe pipe;
  std::string got;
  auto reader = pipe.take_all(got);
  {
    Output output(pipe.writer(), report);
    output.start_thread();
    std::vector<std::jthread> writers;
    for (int thread = 0; thread < kThreads; ++thread) {
      writers.emplace_back([&output, thread] {
        for (int i = 0; i < kLines; ++i) output.write(fmt::format("{} {}\n", thread, i));
      });
    }
  }
  pipe.close_writer();
  reader.join();
  std::array<int, kThreads> next{};
  std::istringstream lines(got);
  for (int thread = 0, i = 0; lines >> thread >> i;) EXPECT_EQ(i, next.at(static_cast<size_t>(thread))++);
  for (int count : next) EXPECT_EQ(count, kLines);
}

TEST(Output, EndsOnlyWhenAllIsWritten) {
  Pipe pipe;
  std::string got;
  std::jthread reader;
  {
    Output output(pipe.writer(), report);
    output.start_thread();
    for (uint64_t i = 0; i < 5000; ++i) output.write(fmt::format("line {}\n", i));
    reader = pipe.take_all(got);
  }
  pipe.close_writer();
  reader.join();
  EXPECT_EQ(count_in_order(got), 5000u);
  EXPECT_EQ(got.find("lost"), std::string::npos);
}

TEST(Output, WhatIsRefusedIsCountedAndReportedLater) {
  for (bool with_thread : {false, true}) {
    for (const char* how : {"full disk", "no reader", "closed"}) {
      SCOPED_TRACE(how);
      Pipe gone, pipe;
      const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
      ASSERT_GE(fd, 0);
      gone.close_reader();
      if (how == std::string("no reader")) dup2(gone.writer(), fd);
      if (how == std::string("closed")) dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), fd);
      Output output(fd, report);
      if (with_thread) output.start_thread();
      output.write("a\nb\n");
      EXPECT_TRUE(output.drain(kLong));
      output.write("c\n");
      EXPECT_TRUE(output.drain(kLong));
      EXPECT_NE(output.error(), 0);
      dup2(pipe.writer(), fd);
      output.write("d\n");
      EXPECT_EQ(pipe.take("d\n"), "lost 3\nd\n");
      output.write("e\n");
      EXPECT_EQ(pipe.take("e\n"), "e\n");
      EXPECT_TRUE(output.drain(kLong));
      ::close(fd);
    }
  }
}

TEST(Output, ALineThatWasCutOffEndsBeforeTheNext) {
  const std::string path = testing::TempDir() + "culvert_output_test";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Output output(fd, report);
  output.write("0123456789abc\nsecond\n");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  output.write("third\n");
  std::array<char, 100> text{};
  EXPECT_GT(::pread(fd, text.data(), text.size() - 1, 0), 0);
  EXPECT_STREQ(text.data(), "0123456789\nlost 2\nthird\n");
  ::close(fd);
  ::unlink(path.c_str());
}

TEST(Output, ANonBlockingDescriptorLosesNothing) {
  Pipe pipe;
  ASSERT_EQ(fcntl(pipe.writer(), F_SETFL, O_NONBLOCK), 0);
  std::string got;
  {
    Output output(pipe.writer(), report);
    output.start_thread();
    for (uint64_t i = 0; i < 2000; ++i) output.write(fmt::format("line {}\n", i));
    EXPECT_FALSE(output.drain(10ms));
    auto reader = pipe.take_all(got);
    EXPECT_TRUE(output.drain(kLong));
    EXPECT_EQ(output.error(), 0);
    pipe.close_writer();
  }
  EXPECT_EQ(count_in_order(got), 2000u);
}

TEST(Output, WritesCompleteLines) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_DIRECT | O_CLOEXEC), 0);  // each write() is one packet
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += fmt::format("line {}\n", i);
  {
    Output output(ends[1], report);
    output.write(lines);
  }
  ::close(ends[1]);
  std::string got;
  std::array<char, 8192> packet;
  ssize_t size = 0;
  while ((size = ::read(ends[0], packet.data(), packet.size())) > 0) {
    got.append(packet.data(), static_cast<size_t>(size));
    EXPECT_EQ(got.back(), '\n');
  }
  ::close(ends[0]);
  EXPECT_EQ(got, lines);
}

TEST(StandardDescriptors, AreNeverTheNextFileThatIsOpened) {
  for (unsigned closed = 0; closed < 8; ++closed) {
    const pid_t child = fork();
    if (child == 0) {
      for (int fd = 0; fd < 3; ++fd) {
        if ((closed & (1u << fd)) != 0) ::close(fd);
      }
      if (!open_standard_descriptors()) _Exit(1);
      if (::open("/dev/zero", O_RDWR) < 3) _Exit(2);
      // As with closed ones, nothing pretends to be written or read.
      char byte = 0;
      if ((closed & 1) != 0 && ::read(0, &byte, 1) != -1) _Exit(3);
      if ((closed & 2) != 0 && ::write(1, &byte, 1) != -1) _Exit(4);
      if ((closed & 4) != 0 && ::write(2, &byte, 1) != -1) _Exit(5);
      _Exit(0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "closed: " << closed << ", exit status " << WEXITSTATUS(status);
  }
}

}  // namespace
}  // namespace culvert
