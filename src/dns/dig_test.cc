// Our server beside dig and nsupdate, Debian's package bind9-dnsutils.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "dns/testing_site.h"
#include "net/child_process.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

constexpr const char* kDig = "/usr/bin/dig";
constexpr const char* kNsupdate = "/usr/bin/nsupdate";
constexpr const char* kApex = "_acme-challenge.example.net";

struct DigTest : ::testing::Test {
  void SetUp() override {
    if (!std::filesystem::exists(kDig)) GTEST_SKIP() << "Debian's package bind9-dnsutils is not installed";
    site.put(kApex, "one");
    site.put(kApex, "two");
  }

  std::string run(const char* program, std::vector<std::string> arguments) {
    const auto end = run_task(loop, net::run_process(loop,
                                                     {.program = program,
                                                      .arguments = std::move(arguments),
                                                      .environment = {"HOME=/nonexistent", "LANG=C"},
                                                      .max_output = 64 * 1024},
                                                     loop.now() + 15s));
    return end.value().output;
  }
  std::string dig(std::vector<std::string> arguments) {
    std::vector<std::string> all = {"@127.0.0.1", "-p",       std::to_string(site.port()),
                                    "+norecurse", "+tries=1", "+time=5"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::string output = run(kDig, std::move(all));
    EXPECT_THAT(output, Not(AnyFault()));
    return output;
  }
  // What dig says about a response that it does not like.
  static ::testing::Matcher<const std::string&> AnyFault() {
    return ::testing::AnyOf(HasSubstr("malformed"), HasSubstr("Got bad packet"), HasSubstr("mismatch"),
                            HasSubstr("extra bytes"), HasSubstr("Question section mismatch"),
                            HasSubstr("timed out"));
  }

  net::EventLoop loop;
  testing::Site site{loop,
                     net::testing::addr("127.0.0.1:0"),
                     kApex,
                     {{.name = testing::name(kApex),
                       .type = Type::kCaa,
                       .ttl = 300,
                       .data = Caa{0, "issue", "letsencrypt.org"}}}};
};

TEST_F(DigTest, ReadsTxtOverUdpAndTcp) {
  for (const char* transport : {"+notcp", "+tcp"}) {
    const std::string output = dig({transport, kApex, "TXT"});
    EXPECT_THAT(output, HasSubstr("status: NOERROR"));
    EXPECT_THAT(output, HasSubstr("flags: qr aa; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1"));
    EXPECT_THAT(output, HasSubstr("IN\tTXT\t\"one\""));
    EXPECT_THAT(output, HasSubstr("IN\tTXT\t\"two\""));
    EXPECT_THAT(output, HasSubstr("EDNS: version: 0, flags:; udp: 1232"));
  }
}

TEST_F(DigTest, WithAndWithoutEdnsAndItsOptions) {
  EXPECT_THAT(dig({"+noedns", kApex, "TXT"}), AllOf(HasSubstr("ANSWER: 2"), Not(HasSubstr("EDNS"))));
  EXPECT_THAT(dig({"+dnssec", "+nsid", "+subnet=192.0.2.0/24", "+cookie=0102030405060708", "+padding=128",
                   kApex, "TXT"}),
              AllOf(HasSubstr("ANSWER: 2"), HasSubstr("flags: do")));
  EXPECT_THAT(dig({"+ednsopt=65001:abcdef", "+ednsflags=0x4000", kApex, "TXT"}), HasSubstr("ANSWER: 2"));
  EXPECT_THAT(dig({"+edns=1", "+noednsneg", kApex, "TXT"}),
              AllOf(HasSubstr("status: BADVERS"), HasSubstr("ANSWER: 0")));
  EXPECT_THAT(dig({"+edns=1", kApex, "TXT"}), HasSubstr("status: NOERROR"));  // it asks again with version 0
}

TEST_F(DigTest, GoesToTcpWhereAnAnswerIsTruncated) {
  for (int i = 0; i < 14; ++i) site.put(kApex, std::string(200, static_cast<char>('a' + i)));
  EXPECT_THAT(dig({"+bufsize=4096", kApex, "TXT"}),
              AllOf(HasSubstr("Truncated, retrying in TCP mode"), HasSubstr("ANSWER: 16")));
  EXPECT_THAT(dig({"+ignore", "+bufsize=512", kApex, "TXT"}),
              AllOf(HasSubstr("flags: qr aa tc"), HasSubstr("ANSWER: 0")));
}

TEST_F(DigTest, OtherTypesAtTheApex) {
  EXPECT_THAT(dig({kApex, "SOA"}), ContainsRegex("SOA\tns1.test. hostmaster.test. [0-9]+ 3600 600 86400 5"));
  EXPECT_THAT(dig({kApex, "NS"}), HasSubstr("NS\tns1.test."));
  EXPECT_THAT(dig({kApex, "CAA"}), HasSubstr("CAA\t0 issue \"letsencrypt.org\""));
  EXPECT_THAT(dig({"+notcp", kApex, "ANY"}), HasSubstr("HINFO\t\"RFC8482\" \"\""));
  for (const char* type : {"A", "AAAA", "DS", "DNSKEY", "TYPE65", "TYPE1000"}) {
    EXPECT_THAT(dig({kApex, type}), AllOf(HasSubstr("status: NOERROR"), HasSubstr("ANSWER: 0, AUTHORITY: 1"),
                                          HasSubstr("SOA\tns1.test.")));
  }
}

TEST_F(DigTest, NamesThatAreNotThere) {
  EXPECT_THAT(dig({"x._acme-challenge.example.net", "TXT"}),
              AllOf(HasSubstr("status: NXDOMAIN"), HasSubstr("flags: qr aa;"), HasSubstr("AUTHORITY: 1")));
  EXPECT_THAT(dig({"example.net", "TXT"}),
              AllOf(HasSubstr("status: REFUSED"), Not(HasSubstr("flags: qr aa"))));
  EXPECT_THAT(dig({"version.bind", "CH", "TXT"}), HasSubstr("status: REFUSED"));
}

TEST_F(DigTest, TheQuestionKeepsItsCase) {
  const std::string output = dig({"_AcMe-ChAlLeNgE.eXaMpLe.NeT", "TXT"});
  EXPECT_THAT(output, HasSubstr(";_AcMe-ChAlLeNgE.eXaMpLe.NeT.\tIN\tTXT"));
  EXPECT_THAT(output, ContainsRegex("\n_AcMe-ChAlLeNgE.eXaMpLe.NeT. 5\tIN\tTXT"));
}

TEST_F(DigTest, WrongKindsOfMessages) {
  EXPECT_THAT(dig({"+opcode=NOTIFY", kApex, "SOA"}), HasSubstr("status: NOTIMP"));
  EXPECT_THAT(dig({"+opcode=UPDATE", kApex, "SOA"}), HasSubstr("status: NOTIMP"));
  EXPECT_THAT(dig({"+header-only"}), HasSubstr("status: FORMERR"));
  EXPECT_THAT(dig({kApex, "AXFR"}), HasSubstr("Transfer failed"));
  EXPECT_THAT(dig({"-y", "hmac-sha256:key:c2VjcmV0", kApex, "TXT"}),
              AllOf(HasSubstr("status: NOTAUTH"), HasSubstr("BADKEY")));
}

TEST_F(DigTest, SeveralQueriesOnOneConnection) {
  const std::string output = dig({"+tcp", "+keepopen", "+short", kApex, "TXT", "+keepopen", "+tcp",
                                  "x._acme-challenge.example.net", "TXT", "+keepopen", "+tcp", kApex, "NS"});
  EXPECT_THAT(output, HasSubstr("ns1.test."));
  EXPECT_EQ(site.server->counters().accepted, 1u);
  EXPECT_EQ(site.server->counters().tcp_queries, 3u);
}

TEST_F(DigTest, NsupdateIsTurnedAway) {
  const auto file = std::filesystem::path(::testing::TempDir()) / ("nsupdate-" + std::to_string(::getpid()));
  std::ofstream(file) << "server 127.0.0.1 " << site.port() << "\nzone " << kApex << "\nupdate add " << kApex
                      << " 5 TXT three\nsend\n";
  EXPECT_THAT(run(kNsupdate, {file.native()}), HasSubstr("NOTIMP"));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace culvert::dns
