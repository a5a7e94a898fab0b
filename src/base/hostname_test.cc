#include "base/hostname.h"

#include <gtest/gtest.h>

#include <string>

namespace culvert {
namespace {

using namespace std::string_literals;

TEST(Hostname, TakesWhatDnsHas) {
  for (const auto* name :
       {"a", "localhost", "app.example.eu", "a-b.c", "_dmarc.example.eu", "my_app.example.eu", "3.a",
        "r3---sn-4g5.example.eu", "xn--bcher-kva.example", "ends-.example.eu"}) {
    EXPECT_TRUE(is_hostname(name)) << name;
    EXPECT_TRUE(is_hostname_or_wildcard(name)) << name;
  }
  EXPECT_TRUE(is_hostname(std::string(63, 'a')));
}

TEST(Hostname, RefusesEverythingElse) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  ASSERT_EQ(longest.size(), kMaxHostname);
  EXPECT_TRUE(is_hostname(longest));
  for (const std::string& name :
       {""s, "."s, "a."s, ".a"s, "a..b"s, "A.b"s, "a b"s, "a\0b"s, "a\n"s, "b\xc3\xbc"s, "a/b"s, "a:1"s,
        "[::1]"s, "*"s, "a.*"s, "*.b"s, std::string(64, 'a'), longest + "a"}) {
    EXPECT_FALSE(is_hostname(name)) << name;
  }
}

TEST(Hostname, AWildcardIsTheFirstLabelOfSeveral) {
  EXPECT_TRUE(is_hostname_or_wildcard("*.example.eu"));
  EXPECT_TRUE(is_hostname_or_wildcard("*.a_b"));
  for (const auto* name : {"*", "*.", "a.*.b", "**.a", "*a.b", "*.*.a"}) {
    EXPECT_FALSE(is_hostname_or_wildcard(name)) << name;
  }
}

TEST(Hostname, AFaultSaysWhatIsWrongWithTheLabel) {
  EXPECT_STREQ(hostname_label_fault(""), "is empty");
  EXPECT_STREQ(hostname_label_fault("a*"), "has a '*'; a wildcard is '*' alone as the first label");
  EXPECT_STREQ(hostname_label_fault("b\xc3\xbc"), "is not ASCII; write it in its xn-- form");
  EXPECT_STREQ(hostname_label_fault("a b"),
               "has a character other than letters, digits, hyphens and underscores");
  EXPECT_EQ(hostname_label_fault("a_b-"), nullptr);
}

}  // namespace
}  // namespace culvert
