#include "route/hostname.h"

#include <gtest/gtest.h>

namespace culvert::route {
namespace {

HostPattern pattern(std::string_view text) { return HostPattern::parse(text).value(); }

void expect_invalid(std::string_view text, std::string_view why) {
  auto parsed = HostPattern::parse(text);
  ASSERT_FALSE(parsed) << text;
  EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
  EXPECT_NE(parsed.error().message.find(why), std::string::npos)
      << parsed.error().message << "\nexpected " << why;
}

TEST(HostPattern, ParsesAndFolds) {
  EXPECT_EQ(pattern("App.Example.EU").text(), "app.example.eu");
  EXPECT_FALSE(pattern("app.example.eu").is_wildcard());
  EXPECT_EQ(pattern("*.Example.EU").text(), "*.example.eu");
  EXPECT_TRUE(pattern("*.example.eu").is_wildcard());
  for (auto text : {"a.b", "1.2.3.4a", "123.example", "xn--bcher-kva.example", "a--b.eu", "*.localhost",
                    "a.b.c.d.e.f.g.h"}) {
    EXPECT_TRUE(HostPattern::parse(text)) << text;
  }
}

TEST(HostPattern, NamesTheLabelAndTheReason) {
  using namespace std::string_view_literals;
  expect_invalid("", "empty");
  expect_invalid("example", "one label");
  expect_invalid("*", "one label");
  expect_invalid("app.example.eu.", "ends with a dot");
  expect_invalid("app..eu", "label \"\" is empty");
  expect_invalid(".example.eu", "label \"\" is empty");
  expect_invalid("*..eu", "label \"\" is empty");
  expect_invalid("app .example.eu", "label \"app \" has a character");
  expect_invalid("app.example.eu\n", "\\x0a");
  expect_invalid("app\0.example.eu"sv, "\\x00");
  expect_invalid("https://app.example.eu", "label \"https://app\" has a character");
  expect_invalid("app.example.eu:443", "label \"eu:443\" has a character");
  expect_invalid(
      "b\xc3\xbc"
      "cher.example",
      "xn--");
  expect_invalid("app.*.eu", "'*' alone as the first label");
  expect_invalid("*app.example.eu", "'*' alone as the first label");
  expect_invalid("**.example.eu", "'*' alone as the first label");
  expect_invalid("*.*.eu", "'*' alone as the first label");
  expect_invalid("example.*", "'*' alone as the first label");
  expect_invalid("192.0.2.1", "IP address");
  expect_invalid("*.0.0.127", "IP address");
  expect_invalid("[2001:db8::1]", "has a character");
}

// A ClientHello may name it below a wildcard, so it can be a name of its own as well.
TEST(HostPattern, WhatAWildcardTakesCanBeAnExactName) {
  const auto wildcard = HostPattern::parse("*.example.eu").value();
  for (const auto* name : {"a_b.example.eu", "-app.example.eu", "app-.example.eu", "_.example.eu"}) {
    EXPECT_TRUE(wildcard.matches(name)) << name;
    const auto exact = HostPattern::parse(name);
    ASSERT_TRUE(exact) << name;
    EXPECT_TRUE(exact->matches(name)) << name;
    EXPECT_TRUE(wildcard.grants(*exact)) << name;
  }
}

TEST(HostPattern, LengthLimits) {
  EXPECT_TRUE(HostPattern::parse(std::string(63, 'a') + ".eu"));
  expect_invalid(std::string(64, 'a') + ".eu", "longer than 63 bytes");
  const std::string four =
      std::string(63, 'a') + '.' + std::string(63, 'b') + '.' + std::string(63, 'c') + '.';
  EXPECT_TRUE(HostPattern::parse(four + std::string(61, 'd')));
  expect_invalid(four + std::string(62, 'd'), "longer than 253 bytes");
  expect_invalid(std::string(1 << 20, 'a'), "longer than 253 bytes");
}

TEST(HostPattern, ExactMatchesItself) {
  EXPECT_TRUE(pattern("App.b.c").matches("app.b.c"));
  EXPECT_FALSE(pattern("app.b.c").matches("xapp.b.c"));
  EXPECT_FALSE(pattern("app.b.c").matches("x.app.b.c"));
  EXPECT_FALSE(pattern("app.b.c").matches("app.b.cc"));
  EXPECT_FALSE(pattern("app.b.c").matches(""));
}

TEST(HostPattern, WildcardMatchesExactlyOneLabel) {
  const HostPattern wildcard = pattern("*.b.c");
  EXPECT_TRUE(wildcard.matches("a.b.c"));
  EXPECT_TRUE(wildcard.matches("x_y.b.c"));
  EXPECT_FALSE(wildcard.matches("b.c"));
  EXPECT_FALSE(wildcard.matches(".b.c"));
  EXPECT_FALSE(wildcard.matches("x.a.b.c"));
  EXPECT_FALSE(wildcard.matches("evilb.c"));
  EXPECT_FALSE(wildcard.matches("a.b.c.d"));
  EXPECT_FALSE(wildcard.matches("*.b.c"));
  EXPECT_FALSE(wildcard.matches(""));
}

TEST(HostPattern, GrantsFollowLabelBoundaries) {
  const HostPattern wildcard = pattern("*.example.eu");
  for (auto granted :
       {"a.example.eu", "a.b.example.eu", "*.example.eu", "*.a.example.eu", "x.y.z.example.eu"}) {
    EXPECT_TRUE(wildcard.grants(pattern(granted))) << granted;
  }
  for (auto refused : {"example.eu", "evilexample.eu", "a.evilexample.eu", "*.evilexample.eu", "*.eu",
                       "a.example.eu.evil.com", "example.eu.evil.com", "a.example.com"}) {
    EXPECT_FALSE(wildcard.grants(pattern(refused))) << refused;
  }
}

TEST(HostPattern, ExactGrantsOnlyItself) {
  const HostPattern exact = pattern("a.example.eu");
  EXPECT_TRUE(exact.grants(pattern("A.example.eu")));
  for (auto refused : {"b.example.eu", "*.example.eu", "x.a.example.eu", "*.a.example.eu", "example.eu"}) {
    EXPECT_FALSE(exact.grants(pattern(refused))) << refused;
  }
}

TEST(HostPattern, Overlap) {
  struct Case {
    const char *a, *b;
    bool overlap;
  };
  const Case cases[] = {
      {"a.b.c", "a.b.c", true},    {"a.b.c", "x.b.c", false},     {"*.b.c", "a.b.c", true},
      {"*.b.c", "x.a.b.c", true},  {"*.b.c", "b.c", false},       {"*.b.c", "*.b.c", true},
      {"*.b.c", "*.a.b.c", true},  {"*.c.d", "*.a.b.c.d", true},  {"*.b.c", "*.x.c", false},
      {"*.b.c", "evilb.c", false}, {"*.b.c", "*.evilb.c", false}, {"*.a.b.c", "a.b.c", false},
      {"*.a.b.c", "x.b.c", false}, {"*.b.c", "b.c.d", false},     {"*.a.b", "*.b.a", false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(pattern(c.a).overlaps(pattern(c.b)), c.overlap) << c.a << " and " << c.b;
    EXPECT_EQ(pattern(c.b).overlaps(pattern(c.a)), c.overlap) << c.b << " and " << c.a;
  }
}

// The rule against its definition: two patterns overlap when some name or wildcard is granted by both.
TEST(HostPattern, OverlapIsACommonGrant) {
  std::vector<HostPattern> all;
  std::vector<std::string> suffixes = {"a", "b", "aa"};
  for (int depth = 1; depth < 4; ++depth) {
    std::vector<std::string> longer;
    for (const std::string& suffix : suffixes) {
      if (depth > 0) all.push_back(pattern("*." + suffix));
      if (suffix.find('.') != suffix.npos) all.push_back(pattern(suffix));
      for (const char* label : {"a.", "b.", "aa."}) longer.push_back(label + suffix);
    }
    suffixes = std::move(longer);
  }
  for (const HostPattern& a : all) {
    for (const HostPattern& b : all) {
      bool common = false;
      for (const HostPattern& name : all) common = common || (a.grants(name) && b.grants(name));
      ASSERT_EQ(a.overlaps(b), common) << a.text() << " and " << b.text();
    }
  }
}

TEST(HostPatterns, ParsesAList) {
  auto list = parse_host_patterns("a.example.eu, *.B.example.eu");
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(*list, (std::vector{pattern("a.example.eu"), pattern("*.b.example.eu")}));
  EXPECT_EQ(parse_host_patterns("a.example.eu")->size(), 1u);
}

TEST(HostPatterns, NamesTheEntry) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "hostname 1 of the list is empty"},
      {"a.b,", "hostname 2 of the list is empty"},
      {",a.b", "hostname 1 of the list is empty"},
      {"a.b,,c.d", "hostname 2 of the list is empty"},
      {"a.b, ,c.d", "hostname 2 of the list is empty"},
      {"a.b,c d.e", "hostname 2 of the list: hostname \"c d.e\": label \"c d\""},
      {"a.b c.d", "hostname 1 of the list"},
      {"a.b,c.d,A.B", "hostname \"a.b\" appears twice"},
  };
  for (auto [text, why] : cases) {
    auto list = parse_host_patterns(text);
    ASSERT_FALSE(list) << text;
    EXPECT_EQ(list.error().code, ErrorCode::kInvalid);
    EXPECT_NE(list.error().message.find(why), std::string::npos)
        << list.error().message << "\nexpected " << why;
  }
}

}  // namespace
}  // namespace culvert::route
