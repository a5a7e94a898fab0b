#include "base/machine_memory.h"

#include <gtest/gtest.h>

#include <fstream>

namespace culvert {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMiB = 1024 * 1024;

// A system with 2 GiB.
class MachineMemory : public testing::Test {
 protected:
  MachineMemory() : root_(fs::temp_directory_path() / fs::path("culvert_memory_XXXXXX")) {
    std::string name = root_.string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    write("proc/meminfo", "MemFree:          100000 kB\nMemTotal:        2097152 kB\n");
  }
  ~MachineMemory() override { fs::remove_all(root_); }

  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  uint64_t mib() const { return machine_memory_under(root_) / kMiB; }

  fs::path root_;
};

TEST_F(MachineMemory, IsThatOfTheMachineWithoutGroups) {
  EXPECT_EQ(mib(), 2048u);
  write("proc/self/cgroup", "0::/user.slice\n");
  write("sys/fs/cgroup/user.slice/memory.max", "max\n");
  EXPECT_EQ(mib(), 2048u);
}

TEST_F(MachineMemory, TheSmallestOfAllGroupsOfVersion2Counts) {
  write("proc/self/cgroup", "0::/system.slice/culvert.service\n");
  write("sys/fs/cgroup/system.slice/culvert.service/memory.max", std::to_string(1024 * kMiB) + "\n");
  EXPECT_EQ(mib(), 1024u);
  write("sys/fs/cgroup/system.slice/memory.max", std::to_string(512 * kMiB) + "\n");
  EXPECT_EQ(mib(), 512u) << "one further up";
  write("sys/fs/cgroup/system.slice/culvert.service/memory.high", std::to_string(256 * kMiB) + "\n");
  EXPECT_EQ(mib(), 256u);
}

TEST_F(MachineMemory, AContainerSeesItsOwnGroupAsTheRoot) {
  write("proc/self/cgroup", "0::/../../docker/abc\n");
  write("sys/fs/cgroup/memory.max", std::to_string(300 * kMiB) + "\n");
  EXPECT_EQ(mib(), 300u);
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(mib(), 300u);
}

TEST_F(MachineMemory, Version1) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:hugetlb,memory:/docker/abc\n1:name=systemd:/a\n0::/a\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(mib(), 2048u) << "this is its word for no limit";
  write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", std::to_string(128 * kMiB) + "\n");
  EXPECT_EQ(mib(), 128u);
}

TEST_F(MachineMemory, WhatCannotBeReadIsNoLimit) {
  write("proc/self/cgroup", "nonsense\n0:\n:::\n4:memory_not:/a\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1\n");
  write("sys/fs/cgroup/memory.max", "99999999999999999999999999\n");
  EXPECT_EQ(mib(), 2048u);
  EXPECT_EQ(machine_memory_under(root_ / "nothing"), 0u);
}

TEST_F(MachineMemory, TheAddressSpaceIsALimit) {
  EXPECT_EQ(machine_memory_under(root_, 100 * kMiB), 100 * kMiB);
  EXPECT_EQ(machine_memory_under(root_, 4096 * kMiB), 2048 * kMiB);
}

TEST(MachineMemoryOfThisMachine, IsPlausible) {
  EXPECT_GT(machine_memory(), 16 * kMiB);
  EXPECT_LT(machine_memory(), uint64_t{1} << 50);
}

TEST(MemoryInUse, GrowsWithWhatIsWritten) {
  const uint64_t before = memory_in_use();
  EXPECT_GT(before, kMiB);
  const std::string block(64 * kMiB, 'x');
  EXPECT_GT(memory_in_use(), before + 32 * kMiB) << block.size();
}

}  // namespace
}  // namespace culvert
