#include "net/resolver.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <deque>
#include <filesystem>
#include <fstream>

#include "net/testing.h"
#include "net/testing_dns.h"

namespace culvert::net {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using Answer = Result<std::vector<SocketAddr>>;

struct ResolverTest : ::testing::Test {
  ResolverTest() {
    std::string pattern = ::testing::TempDir() + "resolver-XXXXXX";
    directory = mkdtemp(pattern.data());
    write("resolv.conf", "options timeout:1 attempts:2\n");
    write("hosts", "");
  }
  ~ResolverTest() override { std::filesystem::remove_all(directory); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory + "/" + name) << text;
  }
  void use(const std::string& servers) {
    configure_resolver(
        *loop,
        {.servers = servers, .resolv_conf = directory + "/resolv.conf", .hosts = directory + "/hosts"});
  }
  FakeDns& serve(FakeDns::Handler handler) {
    auto& server = servers_.emplace_back(std::make_unique<FakeDns>(*loop, std::move(handler)));
    return *server;
  }
  // A name has one IPv4 address, and no IPv6 one.
  static DnsReply plain(const std::string& name, uint16_t type) {
    if (type != kTypeA) return {};
    return {.records = {dns_address(name, "10.0.0.1")}};
  }
  Answer ask(const std::string& host, Duration time = 10s) {
    return run_task(*loop, resolve(*loop, host, 80, monotonic_now() + time));
  }
  void pause(Duration time) {
    const TimePoint end = monotonic_now() + time;
    run_until(*loop, [&] { return monotonic_now() >= end; });
  }

  std::unique_ptr<EventLoop> loop = std::make_unique<EventLoop>();
  std::string directory;
  std::vector<std::unique_ptr<FakeDns>> servers_;
};

TEST_F(ResolverTest, LiteralsAndLocalhostNeedNoNameServer) {
  auto& dns = serve(plain);
  use(dns.address());
  EXPECT_EQ(ask("192.0.2.7").value(), std::vector{addr("192.0.2.7:80")});
  EXPECT_EQ(ask("127.1").value(), std::vector{addr("127.0.0.1:80")});
  EXPECT_EQ(ask("::1").value(), std::vector{addr("[::1]:80")});
  EXPECT_EQ(ask("[2001:db8::5]").value(), std::vector{addr("[2001:db8::5]:80")});
  EXPECT_EQ(ask("::ffff:192.0.2.7").value(), std::vector{addr("192.0.2.7:80")});
  for (const char* host : {"localhost", "LocalHost.", "web.localhost", "a.b.LOCALHOST"}) {
    EXPECT_EQ(ask(host).value(), (std::vector{addr("127.0.0.1:80"), addr("[::1]:80")})) << host;
  }
  EXPECT_EQ(dns.total(), 0);
}

TEST_F(ResolverTest, WhatIsNoNameIsNotAskedFor) {
  auto& dns = serve(plain);
  use(dns.address());
  for (const std::string& host :
       {std::string(), std::string("a b"), std::string("a\0b", 3), std::string("127.0.0.1 x"),
        std::string("127.0.0.1\0x", 11), std::string("::1\0x", 5), std::string("host:80"),
        std::string("http://x"), std::string("[::1"), std::string("[1.2.3.4]"), std::string(300, 'a')}) {
    const auto answer = ask(host);
    ASSERT_FALSE(answer) << host;
    EXPECT_EQ(answer.error().code, ErrorCode::kNotFound);
  }
  EXPECT_EQ(dns.total(), 0);
}

TEST_F(ResolverTest, BothFamiliesAreAskedOnceAndTheAnswerIsKept) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    return {.delay = 20ms,
            .records = {type == kTypeA ? dns_address(name, "10.0.0.1") : dns_address(name, "2001:db8::1")}};
  });
  use(dns.address());
  TaskGroup tasks(*loop);
  std::deque<std::optional<Answer>> out(50);
  for (auto& slot : out) tasks.spawn(keep_result(resolve(*loop, "web.example", 80, soon()), slot));
  run_until(*loop, [&] { return tasks.size() == 0; });
  for (const auto& slot : out)
    EXPECT_EQ(slot->value(), (std::vector{addr("[2001:db8::1]:80"), addr("10.0.0.1:80")}));
  EXPECT_EQ(ask("WEB.example").value().size(), 2u);
  EXPECT_EQ(dns.asked("web.example", kTypeA), 1);
  EXPECT_EQ(dns.asked("web.example", kTypeAaaa), 1);
}

TEST_F(ResolverTest, ATtlOfZeroIsKeptForOneSecond) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type != kTypeA) return {};
    return {.records = {dns_address(name, "10.0.0.1", 0)}};
  });
  use(dns.address());
  EXPECT_TRUE(ask("web.example"));
  EXPECT_TRUE(ask("web.example"));
  EXPECT_EQ(dns.asked("web.example", kTypeA), 1);
  pause(1100ms);
  EXPECT_TRUE(ask("web.example"));
  EXPECT_EQ(dns.asked("web.example", kTypeA), 2);
}

TEST_F(ResolverTest, FailuresAreToldApartAndKeptForOneSecond) {
  auto& dns = serve([](const std::string& name, uint16_t) -> DnsReply {
    if (name == "missing.example") return {.rcode = 3};
    if (name == "broken.example") return {.rcode = 2};
    return {};
  });
  use(dns.address());
  const auto missing = ask("missing.example");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message,
            "cannot resolve \"missing.example\": there is no such name, says " + dns.address());
  const auto empty = ask("empty.example");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(empty.error().message,
            "cannot resolve \"empty.example\": the name has no address, says " + dns.address());
  const auto broken = ask("broken.example");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(broken.error().message, HasSubstr("broken.example"));
  EXPECT_THAT(broken.error().message, HasSubstr(dns.address()));
  EXPECT_EQ(resolver_counters(*loop).failures, 3u);
  const int before = dns.total();
  EXPECT_FALSE(ask("missing.example"));
  EXPECT_FALSE(ask("broken.example"));
  EXPECT_EQ(dns.total(), before);
  pause(1100ms);
  EXPECT_FALSE(ask("missing.example"));
  EXPECT_GT(dns.total(), before);
}

TEST_F(ResolverTest, ASilentAaaaDelaysLittle) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type == kTypeAaaa) return {.is_silent = true};
    return plain(name, type);
  });
  use(dns.address());
  const TimePoint start = monotonic_now();
  EXPECT_EQ(ask("web.example").value(), std::vector{addr("10.0.0.1:80")});
  EXPECT_LT(monotonic_now() - start, 900ms);
  // The next caller does not wait for it again.
  const TimePoint again = monotonic_now();
  EXPECT_TRUE(ask("web.example"));
  EXPECT_LT(monotonic_now() - again, 200ms);
}

TEST_F(ResolverTest, ASilentNameDelaysNoOther) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (name == "dead.example") return {.is_silent = true};
    return plain(name, type);
  });
  use(dns.address());
  TaskGroup tasks(*loop);
  std::optional<Answer> dead;
  tasks.spawn(keep_result(resolve(*loop, "dead.example", 80, soon()), dead));
  drain(*loop);
  const TimePoint start = monotonic_now();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(ask("web" + std::to_string(i) + ".example"));
  EXPECT_LT(monotonic_now() - start, 1s);
  EXPECT_FALSE(dead);
  run_until(*loop, [&] { return tasks.size() == 0; });
  ASSERT_FALSE(*dead);
  EXPECT_EQ(dead->error().code, ErrorCode::kTimeout);
  EXPECT_EQ(dead->error().message,
            "cannot resolve \"dead.example\": no answer in time from " + dns.address());
  const ResolverCounters& counters = resolver_counters(*loop);
  EXPECT_EQ(counters.lookups, 51u);
  EXPECT_EQ(counters.timeouts, 1u);
  EXPECT_EQ(counters.cache_hits + counters.hosts_hits + counters.failures + counters.refused, 0u);
}

TEST_F(ResolverTest, ANameServerThatDeniesTheNameForAaaaOnlyIsNotBelieved) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type == kTypeAaaa) return {.rcode = 3};
    return {.delay = 20ms, .records = {dns_address(name, "10.0.0.1")}};
  });
  use(dns.address());
  EXPECT_EQ(ask("web.example").value(), std::vector{addr("10.0.0.1:80")});
}

TEST_F(ResolverTest, SilenceAboutAaaaDoesNotStopTheSearch) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type == kTypeAaaa) return {.is_silent = true};
    if (name == "web.b.example") return plain(name, type);
    return {.rcode = 3};
  });
  write("resolv.conf", "search a.example b.example\noptions timeout:5\n");
  use(dns.address());
  const TimePoint start = monotonic_now();
  EXPECT_EQ(ask("web").value(), std::vector{addr("10.0.0.1:80")});
  EXPECT_LT(monotonic_now() - start, 3s);
}

TEST_F(ResolverTest, LookupsOfOneNameDoNotPileUpWhereAaaaMeetsSilence) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type == kTypeAaaa) return {.is_silent = true};
    return {.records = {dns_address(name, "10.0.0.1", 0)}};
  });
  use(dns.address());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(ask("web.example"));
    pause(600ms);  // the address' TTL has passed after two
  }
  EXPECT_EQ(dns.asked("web.example", kTypeA), 1);
  EXPECT_EQ(resolver_counters(*loop).cache_hits, 2u);
}

TEST_F(ResolverTest, OfSeveralNamesOneIsEnoughToGoOn) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (name == "dead.example") return {.is_silent = true};
    return plain(name, type);
  });
  use(dns.address());
  const TimePoint start = monotonic_now();
  std::vector<HostPort> hosts{{"dead.example", 1}, {"web.example", 2}, {"::1", 3}};
  const auto results = run_task(*loop, resolve_all(*loop, hosts, soon()));
  ASSERT_EQ(results.size(), 3u);
  ASSERT_FALSE(results[0]);
  EXPECT_EQ(results[0].error().code, ErrorCode::kTimeout);
  EXPECT_EQ(results[1].value(), std::vector{addr("10.0.0.1:2")});
  EXPECT_EQ(results[2].value(), std::vector{addr("[::1]:3")});
  EXPECT_LT(monotonic_now() - start, 1500ms);
}

TEST_F(ResolverTest, TheCallersDeadlineHolds) {
  auto& dns = serve([](const std::string&, uint16_t) -> DnsReply { return {.is_silent = true}; });
  use(dns.address());
  const TimePoint start = monotonic_now();
  const auto answer = ask("dead.example", 30ms);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
  EXPECT_LT(monotonic_now() - start, 500ms);
}

TEST_F(ResolverTest, ADeadNameServerBesideALivingOne) {
  auto& dead = serve([](const std::string&, uint16_t) -> DnsReply { return {.is_silent = true}; });
  auto& living = serve(plain);
  use(dead.address() + "," + living.address());
  const TimePoint start = monotonic_now();
  TaskGroup tasks(*loop);
  std::deque<std::optional<Answer>> out(20);
  for (size_t i = 0; i < out.size(); ++i)
    tasks.spawn(keep_result(resolve(*loop, "web" + std::to_string(i) + ".example", 80, soon()), out[i]));
  run_until(*loop, [&] { return tasks.size() == 0; });
  for (const auto& slot : out) EXPECT_TRUE(*slot);
  EXPECT_LT(monotonic_now() - start, 3s);
}

TEST_F(ResolverTest, QuestionsAreBounded) {
  auto& dns = serve([](const std::string&, uint16_t) -> DnsReply { return {.is_silent = true}; });
  use(dns.address());
  TaskGroup tasks(*loop);
  std::deque<std::optional<Answer>> out(600);
  for (size_t i = 0; i < out.size(); ++i) {
    tasks.spawn(
        keep_result(resolve(*loop, std::to_string(i) + ".example", 80, monotonic_now() + 3s), out[i]));
  }
  const auto refused = [&out] {
    return std::ranges::count_if(out, [](const auto& slot) { return slot.has_value(); });
  };
  run_until(*loop, [&] { return refused() > 0 && out.back().has_value(); });
  EXPECT_EQ(refused(), 600 - 512);
  EXPECT_EQ(resolver_counters(*loop).refused, 600u - 512u);
  ASSERT_TRUE(out.back());
  EXPECT_EQ(out.back()->error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(out.back()->error().message, HasSubstr("too many names are being resolved"));
  EXPECT_TRUE(ask("localhost"));
  run_until(*loop, [&] { return tasks.size() == 0; });
}

TEST_F(ResolverTest, AliasesTruncationAndManyAddresses) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type != kTypeA) return {};
    DnsReply reply;
    if (name == "alias.example") {
      reply.records = {{name, kTypeCname, 30, "middle.example"},
                       {"middle.example", kTypeCname, 1, "real.example"},
                       dns_address("real.example", "10.0.0.7", 30)};
    } else {
      for (int i = 0; i < 100; ++i) reply.records.push_back(dns_address(name, "10.0.1." + std::to_string(i)));
      reply.is_truncated = true;
    }
    return reply;
  });
  use(dns.address());
  EXPECT_EQ(ask("alias.example").value(), std::vector{addr("10.0.0.7:80")});
  EXPECT_EQ(dns.over_tcp(), 0);
  const auto many = ask("many.example");
  ASSERT_TRUE(many) << many.error().message;
  EXPECT_EQ(many->size(), 16u);
  EXPECT_GE(dns.over_tcp(), 1);
  // The alias with the shortest TTL decides.
  pause(1100ms);
  EXPECT_TRUE(ask("alias.example"));
  EXPECT_EQ(dns.asked("alias.example", kTypeA), 2);
}

TEST_F(ResolverTest, HostsComeFirstAndAChangeIsNoticed) {
  auto& dns = serve(plain);
  write("hosts", "10.9.9.9 web.example\n");
  use(dns.address());
  EXPECT_EQ(ask("web.example").value(), std::vector{addr("10.9.9.9:80")});
  EXPECT_EQ(dns.total(), 0);
  EXPECT_EQ(resolver_counters(*loop).hosts_hits, 1u);
  write("hosts", "10.9.9.8 web.example more\n");
  EXPECT_EQ(ask("web.example").value(), std::vector{addr("10.9.9.8:80")});
  std::filesystem::remove(directory + "/hosts");
  EXPECT_EQ(ask("web.example").value(), std::vector{addr("10.0.0.1:80")});
}

TEST_F(ResolverTest, SearchIsOneNameForBothFamiliesAndAChangeIsNoticed) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (name == "web.b.example") return plain(name, type);
    // Below the last domain everything has an IPv6 address; it must not be mixed in.
    if (name == "web.c.example")
      return type == kTypeA ? DnsReply{} : DnsReply{.records = {dns_address(name, "2001:db8::bad")}};
    return {.rcode = 3};
  });
  write("resolv.conf", "search a.example b.example c.example\n");
  use(dns.address());
  EXPECT_EQ(ask("web").value(), std::vector{addr("10.0.0.1:80")});
  EXPECT_EQ(dns.asked("web.c.example", kTypeAaaa), 0);
  write("resolv.conf", "search c.example\noptions timeout:1\n");
  EXPECT_EQ(ask("web").value(), std::vector{addr("[2001:db8::bad]:80")});
}

TEST_F(ResolverTest, TheLoopMayGoWhileANameIsAskedFor) {
  auto& dns = serve([](const std::string&, uint16_t) -> DnsReply { return {.is_silent = true}; });
  use(dns.address());
  TaskGroup tasks(*loop);
  std::optional<Answer> out;
  tasks.spawn(keep_result(resolve(*loop, "dead.example", 80, soon()), out));
  drain(*loop);
  servers_.clear();
  loop.reset();
  EXPECT_FALSE(out);
}

TEST_F(ResolverTest, ItsServersAreThoseOfTheFileAsItIsNow) {
  configure_resolver(*loop, {.resolv_conf = directory + "/resolv.conf", .hosts = directory + "/hosts"});
  write("resolv.conf", "nameserver 192.0.2.1\nnameserver 2001:db8::1\n");
  EXPECT_EQ(resolver_servers(*loop), (std::vector{addr("192.0.2.1:53"), addr("[2001:db8::1]:53")}));
  write("resolv.conf", "nameserver 192.0.2.200\n");
  EXPECT_EQ(resolver_servers(*loop), std::vector{addr("192.0.2.200:53")});
}

TEST_F(ResolverTest, TextsAreThoseOfAllTxtRecords) {
  auto& dns = serve([](const std::string& name, uint16_t type) -> DnsReply {
    if (type != kTypeTxt) return {};
    if (name == "_a.example.eu") {
      return {.records = {dns_text(name, {"one"}), dns_text(name, {std::string(200, 'x'), "", "y"}),
                          dns_text(name, {""})}};
    }
    if (name == "many.example.eu")
      return {.is_truncated = true, .records = std::vector(200, dns_text(name, {"z"}))};
    if (name == "broken.example.eu") return {.rcode = 2};
    if (name == "silent.example.eu") return {.is_silent = true};
    return {.rcode = 3};
  });
  use(dns.address());
  const auto texts = [&](const std::string& name, Duration time = 10s) {
    return run_task(*loop, resolve_texts(*loop, name, monotonic_now() + time));
  };
  EXPECT_EQ(texts("_a.example.eu").value(),
            (std::vector<std::string>{"one", std::string(200, 'x') + "y", ""}));
  EXPECT_EQ(texts("many.example.eu").value().size(), 64u) << "a bound";
  EXPECT_TRUE(texts("none.example.eu").value().empty());
  EXPECT_EQ(texts("broken.example.eu").error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(texts("silent.example.eu", 300ms).error().code, ErrorCode::kTimeout);
  EXPECT_EQ(texts("a b").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(dns.asked("_a.example.eu", kTypeTxt), 1);
  EXPECT_TRUE(texts("_a.example.eu"));
  EXPECT_EQ(dns.asked("_a.example.eu", kTypeTxt), 2) << "nothing is cached";
}

}  // namespace
}  // namespace culvert::net
