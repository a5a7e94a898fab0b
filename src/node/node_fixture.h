#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "net/testing.h"
#include "node/data_dir.h"
#include "node/node.h"

// For tests of node: a data directory of the test's own.
namespace culvert::node::testing {

using namespace std::chrono_literals;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
namespace fs = std::filesystem;

class NodeTest : public ::testing::Test {
 public:
  NodeTest() {
    directory_ = fs::temp_directory_path() / fmt::format("culvert-node-{:x}", SystemRandom().u64());
  }
  ~NodeTest() override { fs::remove_all(directory_); }

  Config config() {
    return {.data_dir = directory_,
            .public_urls = {},
            .edge_addrs = {},
            .edge = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .drain_timeout = 1s}};
  }
  DataDir files() { return {directory_}; }
  void write(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string read(const fs::path& path) { return std::string(as_text(read_file(path, 1 << 20).value())); }

  // The error's text, which must name what is wrong.
  std::string error_of(Config config, ErrorCode code) {
    auto node = Node::start(std::move(config));
    EXPECT_FALSE(node);
    if (node) return "";
    EXPECT_EQ(node.error().code, code) << node.error().message;
    return node.error().message;
  }

  fs::path directory_;
};

}  // namespace culvert::node::testing
