#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/command.h"
#include "hubapi/token.h"

// What the tests of commands share.
namespace culvert::cli {

using ::testing::HasSubstr;
using ::testing::Not;

// One command with a made-up command line, environment and file.
template <class T>
struct Fixture {
  T command;
  std::map<std::string, std::string> variables = {{"HOME", "/home/u"}};
  std::filesystem::path directory = std::filesystem::path(testing::TempDir()) /
                                    fmt::format("culvert_command_test_{}", static_cast<const void*>(this));

  Fixture() { std::filesystem::create_directories(directory); }
  ~Fixture() { std::filesystem::remove_all(directory); }

  std::string file(const std::string& name, std::string_view content, unsigned mode = 0600) {
    auto path = directory / name;
    EXPECT_TRUE(replace_file(path, as_bytes(content), mode));
    return path.string();
  }

  Result<> resolve(std::vector<std::string> arguments) {
    auto given = command.parse(arguments);
    EXPECT_TRUE(given) << given.error().message;
    if (!given) return std::unexpected(given.error());
    return command.resolve(*given, [this](const std::string& name) -> std::optional<std::string> {
      auto found = variables.find(name);
      if (found == variables.end() || found->second.empty()) return std::nullopt;
      return found->second;
    });
  }
  std::string error(std::vector<std::string> arguments) {
    auto resolved = resolve(std::move(arguments));
    EXPECT_FALSE(resolved) << "this should have been refused";
    return resolved ? "" : resolved.error().message;
  }
};

inline hubapi::InviteToken token() {
  hubapi::InviteToken out{.hub_urls = {"https://hub.example.com:8443"},
                          .hub_key = SecretKey::from_seed(Bytes(32, 1))->public_key(),
                          .invite_id = {},
                          .invite_secret = {},
                          .tenant_key = SecretKey::from_seed(Bytes(32, 2)).value()};
  out.invite_secret = SecretBytes<32>::from(Bytes(32, 0x22));
  return out;
}

}  // namespace culvert::cli
