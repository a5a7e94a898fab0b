#include "node/route_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/random.h"

namespace culvert::node {
namespace {

namespace fs = std::filesystem;

SecretKey key_of(uint8_t seed) { return *SecretKey::from_seed(Bytes(SecretKey::kSize, seed)); }

class RouteFileTest : public testing::Test {
 protected:
  RouteFileTest() {
    directory_ = fs::temp_directory_path() / fmt::format("culvert-routes-{:x}", SystemRandom().u64());
    fs::create_directories(directory_);
  }
  ~RouteFileTest() override { fs::remove_all(directory_); }

  fs::path path() const { return directory_ / "routes.jsonl"; }
  std::string read() const { return std::string(as_text(read_file(path(), 1 << 20).value())); }
  void write(std::string_view content) { std::ofstream(path(), std::ios::binary) << content; }

  static std::string route_line(const std::string& hostname) {
    return hubapi::encode_route({*route::HostPattern::parse(hostname),
                                 key_of(2).public_key(),
                                 route::TlsMode::kPassthrough,
                                 {{key_of(3).public_key()}}});
  }
  std::string seal() {
    return hubapi::encode(hubapi::Seal::make(hub_, {1, ++version_}, count_, digest_.value())) + '\n';
  }
  std::string added(const std::string& hostname) {
    const std::string line = route_line(hostname);
    digest_.add(sha256(as_bytes(line)));
    ++count_;
    return line + '\n';
  }
  std::string snapshot() {
    std::string text = hubapi::encode(hubapi::SnapshotHead{2}) + '\n';
    text += added("a.example.com");
    text += added("b.example.com");
    return text + seal();
  }
  std::string change(const std::string& hostname) {
    std::string text = hubapi::encode(hubapi::DeltaHead{1, {}}) + '\n';
    text += added(hostname);
    return text + seal();
  }
  // How many routes come out of the file.
  Result<size_t> load() {
    hubapi::RouteReplica replica(hub_.public_key());
    auto loaded = RouteFile(path()).load(replica);
    if (!loaded) return std::unexpected(loaded.error());
    return replica.routes()->size();
  }

  const SecretKey hub_ = key_of(1);
  fs::path directory_;
  hubapi::RouteDigest digest_;
  uint64_t count_ = 0;
  uint64_t version_ = 0;
};

TEST_F(RouteFileTest, KeepsTheSnapshotAndWhatFollowed) {
  RouteFile file(path());
  ASSERT_TRUE(file.replace(snapshot()));
  ASSERT_TRUE(file.append(change("c.example.com")));
  ASSERT_TRUE(file.append(seal()));
  EXPECT_EQ(load().value(), 3U);
  EXPECT_EQ(fs::status(path()).permissions() & fs::perms::all,
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(RouteFileTest, GoesOnWhereItWasAfterALoad) {
  RouteFile file(path());
  ASSERT_TRUE(file.replace(snapshot()));
  hubapi::RouteReplica replica(hub_.public_key());
  RouteFile again(path());
  ASSERT_TRUE(again.load(replica));
  ASSERT_TRUE(again.append(change("c.example.com")));
  EXPECT_EQ(load().value(), 3U);
}

// A crash or a full disk ends a write anywhere.
TEST_F(RouteFileTest, WhatWasCutOffAtTheEndIsLeftOut) {
  const std::string first = snapshot(), second = change("c.example.com");
  const std::string whole = first + second;
  for (size_t size = 0; size < whole.size(); ++size) {
    write(whole.substr(0, size));
    auto routes = load();
    if (size < first.size()) {
      EXPECT_FALSE(routes) << size;
      continue;
    }
    ASSERT_TRUE(routes) << size << routes.error().message;
    EXPECT_EQ(*routes, 2U) << size;
    EXPECT_EQ(read(), first) << "what is added must follow from what was loaded";
  }
}

TEST_F(RouteFileTest, WhatWasChangedIsRefused) {
  const std::string whole = snapshot() + change("c.example.com");
  SeededRandom random(3);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << random.below(7)));
    write(damaged);
    auto routes = load();
    // A newline that is gone or new may look like the end of a write.
    if (routes) {
      EXPECT_LE(*routes, 3U) << i;
      EXPECT_GE(*routes, 2U) << i;
    }
  }
}

TEST_F(RouteFileTest, AnotherHubsRoutesAreRefused) {
  write(snapshot());
  hubapi::RouteReplica replica(key_of(9).public_key());
  auto loaded = RouteFile(path()).load(replica);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kInvalid);
}

TEST_F(RouteFileTest, NothingIsAddedToNothing) {
  RouteFile file(path());
  EXPECT_FALSE(file.append(seal()));
  ASSERT_TRUE(file.replace(snapshot()));
  fs::remove(path());
  EXPECT_FALSE(file.append(change("c.example.com")));
  EXPECT_FALSE(file.append(change("d.example.com"))) << "what is missing in between would be lost";
  EXPECT_EQ(load().error().code, ErrorCode::kNotFound);
}

TEST_F(RouteFileTest, GrowsUntilASnapshotIsCheaper) {
  RouteFile file(path());
  ASSERT_TRUE(file.replace(snapshot()));
  EXPECT_FALSE(file.is_long());
  const std::string many(256 * 1024, 'x');
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(file.append(many));
  EXPECT_TRUE(file.is_long());
  ASSERT_TRUE(file.replace(snapshot()));
  EXPECT_FALSE(file.is_long());
}

TEST_F(RouteFileTest, WithoutAPathNothingIsKept) {
  RouteFile file("");
  EXPECT_TRUE(file.replace(snapshot()));
  EXPECT_TRUE(file.append(change("c.example.com")));
  file.remove();
}

}  // namespace
}  // namespace culvert::node
