// Our server behind Unbound, the resolver of Let's Encrypt; Debian's package unbound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "dns/exchange.h"
#include "dns/process_fixture.h"
#include "dns/testing_site.h"
#include "net/packet_io.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using namespace std::chrono_literals;

constexpr const char* kUnbound = "/usr/sbin/unbound";
constexpr const char* kApex = "_acme-challenge.example.net";

// It asks in random case, hides what it may of each name, and wants proof of what is not there, as that of a
// certificate authority does.
struct UnboundTest : ::testing::Test {
  void SetUp() override {
    if (!std::filesystem::exists(kUnbound)) GTEST_SKIP() << "Debian's package unbound is not installed";
    directory = testing::make_directory(::testing::TempDir() + "unbound-");
    port = net::TcpListener::listen(loop, net::testing::addr("127.0.0.1:0"), {}).value()->local_addr().port();
    std::ofstream(directory / "conf")
        << "server:\n  interface: 127.0.0.1\n  port: " << port << "\n  directory: " << directory
        << "\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n"
           "  do-not-query-localhost: no\n  use-caps-for-id: yes\n  qname-minimisation: yes\n"
           "  qname-minimisation-strict: yes\n  harden-below-nxdomain: yes\n  module-config: \"iterator\"\n"
           "  edns-buffer-size: 512\n  do-ip6: no\n  local-zone: \"test.\" nodefault\n"
           "remote-control:\n  control-enable: no\n"
           "stub-zone:\n  name: "
        << kApex << "\n  stub-addr: 127.0.0.1@" << site.port() << "\n";
    unbound = std::make_unique<testing::ServerProcess>(
        directory, std::vector<std::string>{kUnbound, "-d", "-p", "-c", (directory / "conf").native()});
    bool is_ready = false;
    for (int i = 0; i < 100 && !is_ready && !unbound->has_ended(); ++i)
      is_ready = ask(kApex, Type::kSoa, 200ms).has_value();
    if (unbound->has_ended() && unbound->log().find("ermission denied") != std::string::npos)
      GTEST_SKIP() << "this system (AppArmor?) lets unbound not read " << directory;
    ASSERT_TRUE(is_ready) << unbound->log();
  }
  void TearDown() override {
    unbound.reset();
    if (!directory.empty()) std::filesystem::remove_all(directory);
  }

  Result<Message> ask(std::string_view name, Type type, Duration time = 20s) {
    Message query = testing::query(name, type, static_cast<uint16_t>(loop.random().u64()));
    query.header.recursion_desired = true;
    query.edns = Edns{.udp_size = 1232};
    const SocketAddr resolver = SocketAddr::v4({127, 0, 0, 1}, port);
    auto answer = run_task(loop, exchange(loop, resolver, encode(query), loop.now() + time));
    if (!answer) return std::unexpected(answer.error());
    return std::move(answer->message);
  }

  net::EventLoop loop;
  testing::Site site{loop, net::testing::addr("127.0.0.1:0"), kApex};
  std::filesystem::path directory;
  uint16_t port = 0;
  std::unique_ptr<testing::ServerProcess> unbound;
};

TEST_F(UnboundTest, FindsValuesAndWhatIsNotThere) {
  site.put(kApex, std::string(43, 'a'));
  site.put("deep.below._acme-challenge.example.net", std::string(43, 'b'));
  const std::tuple<const char*, Type, Rcode, size_t> expected[] = {
      {kApex, Type::kTxt, Rcode::kNoError, 1},
      {"deep.below._acme-challenge.example.net", Type::kTxt, Rcode::kNoError, 1},
      {"below._acme-challenge.example.net", Type::kTxt, Rcode::kNoError, 0},
      {"none._acme-challenge.example.net", Type::kTxt, Rcode::kNameError, 0},
      {kApex, Type::kCaa, Rcode::kNoError, 0},
      {kApex, Type::kAaaa, Rcode::kNoError, 0},
      {kApex, Type::kNs, Rcode::kNoError, 1},
  };
  for (const auto& [name, type, rcode, records] : expected) {
    const auto answer = ask(name, type);
    ASSERT_TRUE(answer) << name << ": " << answer.error().message;
    EXPECT_EQ(answer->header.rcode, rcode) << name;
    EXPECT_EQ(answer->answers.size(), records) << name;
  }
}

TEST_F(UnboundTest, TakesLargeAnswersOverTcp) {
  for (int i = 0; i < 16; ++i) site.put(kApex, std::string(43, static_cast<char>('a' + i)));
  const auto answer = ask(kApex, Type::kTxt);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->answers.size(), 16u);
  EXPECT_GE(site.server->counters().tcp_queries, 1u);
}

TEST_F(UnboundTest, AValueThatComesIsSeenOnceTheNegativeAnswerIsOld) {
  EXPECT_EQ(ask("new._acme-challenge.example.net", Type::kTxt)->header.rcode, Rcode::kNameError);
  site.put("new._acme-challenge.example.net", "value");
  const TimePoint begun = loop.now();
  while (ask("new._acme-challenge.example.net", Type::kTxt)->answers.empty()) {
    ASSERT_LT(loop.now() - begun, std::chrono::seconds(Zone::kNegativeTtl + 5));
    const bool in_time = run_task(loop, [](net::EventLoop& on) -> net::Task<bool> {
      co_await net::sleep_for(on, 100ms);
      co_return true;
    }(loop));
    ASSERT_TRUE(in_time);
  }
}

}  // namespace
}  // namespace culvert::dns
