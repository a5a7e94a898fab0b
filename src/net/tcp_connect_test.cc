#include <gmock/gmock.h>
#include <sys/socket.h>

#include "net/bind.h"
#include "net/resolver.h"
#include "net/testing.h"
#include "net/testing_dns.h"

namespace culvert::net {
namespace {

using namespace testing;
using ::testing::HasSubstr;

// A listener whose accept queue is full: the kernel drops what arrives.
struct BlackHole {
  BlackHole(EventLoop& loop, const std::string& where)
      : listener(TcpListener::listen(loop, addr(where), {.backlog = 0}).value()) {
    for (int i = 0; i < 10; ++i) {
      auto stream = run_task(loop, tcp_connect(loop, listener->local_addr(), monotonic_now() + 50ms));
      if (!stream) return;
      queued.push_back(std::move(*stream));
    }
    ADD_FAILURE() << "every connect was answered";
  }
  std::unique_ptr<TcpListener> listener;
  std::vector<std::unique_ptr<ByteStream>> queued;
};

struct DialTest : ::testing::Test {
  // "web.example" has these addresses.
  void serve(std::vector<std::string> v4, std::vector<std::string> v6, Duration v6_delay = {},
             bool v6_silent = false) {
    dns = std::make_unique<FakeDns>(loop, [=](const std::string& name, uint16_t type) -> DnsReply {
      DnsReply reply;
      for (const auto& ip : type == kTypeA ? v4 : v6) reply.records.push_back(dns_address(name, ip));
      if (type == kTypeAaaa) {
        reply.delay = v6_delay;
        reply.is_silent = v6_silent;
      }
      return reply;
    });
    configure_resolver(loop, {.servers = dns->address(), .resolv_conf = "/dev/null", .hosts = "/dev/null"});
  }
  Result<std::unique_ptr<ByteStream>> dial(uint16_t port, Duration time = 10s) {
    const TimePoint start = monotonic_now();
    auto stream = run_task(loop, tcp_connect(loop, "web.example", port, start + time));
    took = monotonic_now() - start;
    return stream;
  }

  EventLoop loop;
  std::unique_ptr<FakeDns> dns;
  Duration took{};
};

TEST_F(DialTest, ABlackHoledFirstAddressCostsAQuarterSecond) {
  const BlackHole hole(loop, "127.0.0.2:0");
  const uint16_t port = hole.listener->local_addr().port();
  const auto listener = TcpListener::listen(loop, addr("127.0.0.3:0").with_port(port), {}).value();
  serve({"127.0.0.2", "127.0.0.3"}, {});
  const auto stream = dial(port);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ((*stream)->remote_addr(), listener->local_addr());
  EXPECT_GE(took, 240ms);
  EXPECT_LT(took, 2s);
}

TEST_F(DialTest, ABlackHoledIpv6AddressGivesWayToIpv4) {
  const BlackHole hole(loop, "[::1]:0");
  const uint16_t port = hole.listener->local_addr().port();
  const auto listener = TcpListener::listen(loop, addr("127.0.0.1:0").with_port(port), {}).value();
  serve({"127.0.0.1"}, {"::1"});
  const auto stream = dial(port);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ((*stream)->remote_addr(), listener->local_addr());
  EXPECT_LT(took, 2s);
}

TEST_F(DialTest, AFailedAttemptStartsTheNextAtOnce) {
  const auto listener = TcpListener::listen(loop, addr("127.0.0.4:0"), {}).value();
  serve({"127.0.0.2", "127.0.0.3", "127.0.0.4"}, {});
  const auto stream = dial(listener->local_addr().port());
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_LT(took, 240ms);
}

TEST_F(DialTest, Ipv6IsPreferredAlsoWhenALittleLate) {
  const auto v6 = TcpListener::listen(loop, addr("[::1]:0"), {}).value();
  const uint16_t port = v6->local_addr().port();
  const auto v4 = TcpListener::listen(loop, addr("127.0.0.1:0").with_port(port), {}).value();
  serve({"127.0.0.1"}, {"::1"}, 15ms);
  const auto stream = dial(port);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ((*stream)->remote_addr(), v6->local_addr());
}

TEST_F(DialTest, ASilentAaaaCostsTheResolutionDelayOnly) {
  const auto v4 = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  serve({"127.0.0.1"}, {}, {}, true);
  for (const Duration most : {Duration(400ms), Duration(40ms)}) {
    const auto stream = dial(v4->local_addr().port());
    ASSERT_TRUE(stream) << stream.error().message;
    EXPECT_LT(took, most);
  }
}

TEST_F(DialTest, FamiliesTakeTurnsAndTheErrorHasEveryReason) {
  const uint16_t port = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value()->local_addr().port();
  serve({"127.0.0.1", "127.0.0.2"}, {"::1"});
  const auto stream = dial(port);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kUnavailable);
  const std::string p = std::to_string(port);
  EXPECT_EQ(stream.error().message, "cannot connect to web.example: 3 addresses failed: [::1]:" + p +
                                        ": Connection refused; 127.0.0.1:" + p +
                                        ": Connection refused; 127.0.0.2:" + p + ": Connection refused");
}

TEST_F(DialTest, TheDeadlineEndsAllAttempts) {
  const BlackHole hole(loop, "127.0.0.2:0");
  serve({"127.0.0.2"}, {});
  const auto stream = dial(hole.listener->local_addr().port(), 300ms);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(stream.error().message, HasSubstr("cannot connect to web.example: 127.0.0.2:"));
  EXPECT_THAT(stream.error().message, HasSubstr("no answer in time"));
  EXPECT_LT(took, 2s);
}

// Whether the other side has a client before that wrote.
bool comes_without_a_word(EventLoop& loop, ConnectOptions options) {
  const Descriptor listener(open_bound(addr("127.0.0.1:0"), SOCK_STREAM, PortShare::kNone).value());
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  const auto client =
      run_task(loop, tcp_connect(loop, bound_address(listener.get()), soon(), options)).value();
  const bool has_come = Descriptor(::accept(listener.get(), nullptr, nullptr)).get() >= 0;
  EXPECT_EQ(client->try_write(as_bytes("hello")).status, IoStatus::kOk);
  EXPECT_TRUE(has_come || Descriptor(::accept(listener.get(), nullptr, nullptr)).get() >= 0);
  return has_come;
}

TEST(TcpConnect, WhatIsWrittenAtOnceComesWithTheConnection) {
  EventLoop loop;
  EXPECT_TRUE(comes_without_a_word(loop, {})) << "a peer that begins is told at once";
  // The kernel waits 40 ms for the bytes, and these may pass while this does not run.
  bool waited = false;
  for (int tries = 0; tries < 20 && !waited; ++tries)
    waited = !comes_without_a_word(loop, {.writes_at_once = true});
  EXPECT_TRUE(waited);
}

}  // namespace
}  // namespace culvert::net
