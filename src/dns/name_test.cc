#include "dns/name.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dns/testing.h"

namespace culvert::dns {
namespace {

using testing::name;

Bytes bytes_of(std::string_view text) { return to_bytes(as_bytes(text)); }

TEST(Name, HasTheWireFormOfItsText) {
  EXPECT_EQ(name("www.Example.net").wire(), std::string("\3www\7Example\3net\0", 17));
  EXPECT_EQ(name("www.example.net."), name("www.example.net"));
  EXPECT_EQ(name(".").wire(), std::string(1, '\0'));
  EXPECT_TRUE(name(".").is_root());
}

TEST(Name, TextRoundTrips) {
  for (const char* text :
       {".", "a", "_acme-challenge.example.net", "MiXeD.case", "a\\.b.c", "a\\\\b", "\\000\\255.x"})
    EXPECT_EQ(name(text).to_string(), text);
  EXPECT_EQ(name("\\065bc").to_string(), "Abc");
}

TEST(Name, SaysWhatIsWrongWithAText) {
  const std::string label(64, 'a');
  std::string long_name;
  for (int i = 0; i < 4; ++i) long_name += std::string(63, 'a') + ".";
  const std::pair<std::string, const char*> bad[] = {
      {"", "empty"},      {"..", "label that is empty"}, {"a..b", "label that is empty"}, {label, "63"},
      {long_name, "255"}, {"a\\", "backslash"},          {"a\\25", "backslash"},          {"a\\256", "255"},
  };
  for (const auto& [text, fault] : bad) {
    const auto parsed = Name::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    EXPECT_NE(parsed.error().message.find(fault), std::string::npos) << parsed.error().message;
  }
}

TEST(Name, TheLongestNameIsTaken) {
  std::string text;
  for (int i = 0; i < 3; ++i) text += std::string(63, 'a') + ".";
  text += std::string(61, 'b');
  EXPECT_EQ(name(text).wire().size(), Name::kMaxSize);
  EXPECT_FALSE(Name::parse(text + "b"));
}

TEST(Name, ComparesWithoutCase) {
  EXPECT_EQ(name("eXaMpLe.NET"), name("example.net"));
  EXPECT_NE(name("example.net"), name("example.org"));
  EXPECT_NE(name("a\\.b"), name("a.b"));
  EXPECT_EQ(name("EXAMPLE.net").to_lower().wire(), name("example.net").wire());
}

TEST(Name, KnowsItsAncestors) {
  const Name child = name("a.b.Example.net");
  EXPECT_TRUE(child.is_within(name("example.NET")));
  EXPECT_TRUE(child.is_within(child));
  EXPECT_TRUE(child.is_within(Name()));
  EXPECT_FALSE(name("example.net").is_within(child));
  EXPECT_FALSE(name("notexample.net").is_within(name("example.net")));
  EXPECT_EQ(child.label_count(), 4u);
  EXPECT_EQ(child.suffix(2).wire(), name("Example.net").wire());
  EXPECT_EQ(child.parent(), name("b.example.net"));
  EXPECT_EQ(child.suffix(0), Name());
  EXPECT_EQ(child.wildcard(), name("*.a.b.example.net"));
  EXPECT_FALSE(name(std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." +
                    std::string(61, 'd'))
                   .wildcard());
}

// RFC 4034, 6.1: its own example.
TEST(Name, HasTheCanonicalOrder) {
  const std::vector<std::string> sorted = {"example",         "a.example",      "yljkjljk.a.example",
                                           "Z.a.example",     "zABC.a.EXAMPLE", "z.example",
                                           "\\001.z.example", "*.z.example",    "\\200.z.example"};
  std::vector<Name> names;
  for (const std::string& text : sorted) names.push_back(name(text));
  auto shuffled = names;
  std::ranges::reverse(shuffled);
  std::ranges::sort(shuffled);
  EXPECT_EQ(shuffled, names);
}

// RFC 1035, 4.1.4: its own example, at smaller offsets.
TEST(Name, FollowsPointers) {
  const Bytes message =
      bytes_of(std::string("\1F\3ISI\4ARPA\0"
                           "\3FOO\300\0"
                           "\300\2"
                           "\0",
                           12 + 6 + 2 + 1));
  size_t at = 0;
  EXPECT_EQ(Name::decode(message, at), name("F.ISI.ARPA"));
  EXPECT_EQ(Name::decode(message, at), name("FOO.F.ISI.ARPA"));
  EXPECT_EQ(Name::decode(message, at), name("ISI.ARPA"));
  EXPECT_EQ(Name::decode(message, at), Name());
  EXPECT_EQ(at, message.size());
}

TEST(Name, RefusesHostilePointersAndLengths) {
  const std::pair<std::string, size_t> bad[] = {
      {std::string("\300\0", 2), 0},        // to itself
      {std::string("\1a\300\0", 4), 0},     // to its own beginning: a name without an end
      {std::string("\300\2\300\0", 4), 0},  // forward
      {std::string("\300\2\300\0", 4), 2},  // back to one that leads forward
      {std::string("\300", 1), 0},          // half a pointer
      {std::string("\1a", 2), 0},           // no end
      {std::string("\5abc\0", 5), 0},       // longer than what is there
      {std::string("\100"
                   "a\0",
                   3),
       0},  // 01: reserved
      {std::string("\200"
                   "a\0",
                   3),
       0},                                 // 10: reserved
      {std::string("\1a\300\377", 4), 0},  // far behind the end
      {"", 0},
  };
  for (const auto& [text, offset] : bad) {
    size_t at = offset;
    EXPECT_FALSE(Name::decode(as_bytes(text), at));
    EXPECT_EQ(at, offset);
  }
}

TEST(Name, AChainOfPointersCannotMakeANameTooLong) {
  // Each name is one label of 40 bytes and a pointer to the one before.
  std::string message;
  std::vector<size_t> starts;
  message += '\0';
  for (int i = 0; i < 8; ++i) {
    const size_t before = starts.empty() ? 0 : starts.back();
    starts.push_back(message.size());
    message += static_cast<char>(40) + std::string(40, 'x') + static_cast<char>(0xc0 | before >> 8) +
               static_cast<char>(before);
  }
  size_t at = starts[5];
  EXPECT_TRUE(Name::decode(as_bytes(message), at));  // 6 * 41 + 1
  at = starts[6];
  EXPECT_FALSE(Name::decode(as_bytes(message), at));
}

TEST(Name, AChainOfPointersIsBounded) {
  // Each pointer leads to the one before, and the first one to the root.
  std::string message(1, '\0');
  message += std::string("\300\0", 2);
  while (message.size() < 1000) {
    const size_t before = message.size() - 2;
    message += static_cast<char>(0xc0 | before >> 8);
    message += static_cast<char>(before);
  }
  size_t at = 1 + 2 * 127;
  EXPECT_EQ(Name::decode(as_bytes(message), at), Name());
  at = 1 + 2 * 128;
  EXPECT_FALSE(Name::decode(as_bytes(message), at));
}

}  // namespace
}  // namespace culvert::dns
