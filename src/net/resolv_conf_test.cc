#include "net/resolv_conf.h"

#include <gtest/gtest.h>

namespace culvert::net {
namespace {

using namespace std::chrono_literals;

SocketAddr addr(std::string_view text) { return SocketAddr::parse(text).value(); }

TEST(ResolvConf, ReadsServersSearchAndOptions) {
  const ResolvConf conf = parse_resolv_conf(
      "# comment\nnameserver 10.0.0.53 # first\n; other\nnameserver\t2001:db8::53\nnameserver dns.example\n"
      "domain old.example\nsearch ns.svc.cluster.local. svc.cluster.local\r\n"
      "options ndots:5 timeout:1 attempts:3 rotate edns0\nsortlist 1.2.3.4\n");
  EXPECT_EQ(conf.servers, (std::vector{addr("10.0.0.53:53"), addr("[2001:db8::53]:53")}));
  EXPECT_EQ(conf.search, (std::vector<std::string>{"ns.svc.cluster.local", "svc.cluster.local"}));
  EXPECT_EQ(conf.ndots, 5u);
  EXPECT_EQ(conf.timeout, 1s);
  EXPECT_EQ(conf.attempts, 3u);
  EXPECT_TRUE(conf.rotate);
}

TEST(ResolvConf, DefaultsAndBounds) {
  const ResolvConf conf = parse_resolv_conf("options timeout:900 attempts:0 ndots:x\nnameserver\nsearch .");
  EXPECT_EQ(conf.servers, std::vector{addr("127.0.0.1:53")});
  EXPECT_EQ(conf.timeout, 5s);
  EXPECT_EQ(conf.attempts, 1u);
  EXPECT_EQ(conf.ndots, 1u);
  EXPECT_TRUE(conf.search.empty());
  std::string many;
  for (int i = 0; i < 100; ++i) many += "nameserver 10.0.0.1\n";
  EXPECT_EQ(parse_resolv_conf(many).servers.size(), 8u);
}

TEST(ResolvConf, TheWaitForOneQuestionIsLimited) {
  const auto limited = [](size_t servers, Duration timeout, unsigned attempts) {
    ResolvConf conf;
    conf.servers.assign(servers, addr("10.0.0.1:53"));
    conf.timeout = timeout;
    conf.attempts = attempts;
    limit_wait(conf, 8s);
    EXPECT_LE(longest_wait(conf), 8s);
    return conf;
  };
  const ResolvConf usual = limited(1, 2s, 2);
  EXPECT_EQ(longest_wait(usual), 6s);  // 2 s, then 4 s
  EXPECT_EQ(usual.attempts, 2u);
  // One server is asked twice at least; of two, each once.
  EXPECT_EQ(limited(1, 5s, 5).attempts, 2u);
  EXPECT_EQ(limited(2, 2s, 2).attempts, 1u);
  EXPECT_EQ(limited(2, 2s, 2).timeout, 2s);
  EXPECT_EQ(limited(8, 5s, 5).timeout, 1s);
}

TEST(ResolvConf, SearchFollowsNdots) {
  const ResolvConf conf = parse_resolv_conf("search a.example b.example\noptions ndots:2");
  EXPECT_EQ(search_candidates(conf, "web"),
            (std::vector<std::string>{"web.a.example", "web.b.example", "web"}));
  EXPECT_EQ(search_candidates(conf, "x.y.z"),
            (std::vector<std::string>{"x.y.z", "x.y.z.a.example", "x.y.z.b.example"}));
  EXPECT_EQ(search_candidates(conf, "web."), std::vector<std::string>{"web"});
}

TEST(Hosts, FindsEveryAddressOfAName) {
  const std::string text =
      "127.0.0.1 localhost\n10.0.0.1 db.Example db # db2\n::5\tdb\n10.0.0.1 db\nnonsense db\n10.0.0.3 dbx";
  EXPECT_EQ(find_in_hosts(text, "DB"), (std::vector{addr("10.0.0.1:0"), addr("[::5]:0")}));
  EXPECT_EQ(find_in_hosts(text, "db.example."), std::vector{addr("10.0.0.1:0")});
  EXPECT_TRUE(find_in_hosts(text, "db2").empty());
  EXPECT_EQ(find_in_hosts(text, "dbx"), std::vector{addr("10.0.0.3:0")});
  std::string many;
  for (int i = 0; i < 100; ++i) many += "10.0.1." + std::to_string(i) + " db\n";
  EXPECT_EQ(find_in_hosts(many, "db").size(), 16u);
}

}  // namespace
}  // namespace culvert::net
