#include "http/structured_field.h"

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

TEST(StructuredField, ReadsByteSequences) {
  auto members = parse_byte_sequences("  sig1=:aGVsbG8=: ,\t*x=::");
  ASSERT_TRUE(members.has_value());
  ASSERT_EQ(members->size(), 2u);
  EXPECT_EQ((*members)[0].key, "sig1");
  EXPECT_EQ(as_text((*members)[0].value), "hello");
  EXPECT_EQ((*members)[1].key, "*x");
  EXPECT_TRUE((*members)[1].value.empty());
}

TEST(StructuredField, RefusesMalformedByteSequences) {
  for (const char* text :
       {"", " ", "sig1", "sig1=", "sig1=:aGVsbG8=", "sig1=aGVsbG8=:", "Sig1=:aGVsbG8=:", "sig1=:aGVsbG8:",
        "sig1=:a!==:", "sig1=:aGVsbG8=:,", "sig1=:aGVsbG8=: sig2=:aGVsbG8=:",
        "sig1=:aGVsbG8=:, sig1=:aGVsbG8=:", "sig1=\"x\"", "sig1=:aGVsbG8=:;a=1", "=::"}) {
    EXPECT_FALSE(parse_byte_sequences(text).has_value()) << text;
  }
}

TEST(StructuredField, ReadsInnerListsAndWritesThemCanonically) {
  auto members = parse_inner_lists(
      R"(sig1=(  "@method"   "date" ); created=1618884473;n="a\"b\\c";t=tok;b;f=?0;y=:AQ==:, e=())");
  ASSERT_TRUE(members.has_value());
  ASSERT_EQ(members->size(), 2u);
  const InnerListMember& first = (*members)[0];
  EXPECT_EQ(first.items, (std::vector<std::string>{"@method", "date"}));
  EXPECT_EQ(first.canonical, R"(("@method" "date");created=1618884473;n="a\"b\\c";t=tok;b;f=?0;y=:AQ==:)");
  ASSERT_EQ(first.parameters.size(), 6u);
  EXPECT_EQ(first.parameters[0].integer, 1618884473);
  EXPECT_EQ(first.parameters[1].text, "a\"b\\c");
  EXPECT_EQ(first.parameters[2].type, Parameter::Type::kOther);
  EXPECT_EQ((*members)[1].canonical, "()");
}

TEST(StructuredField, RefusesMalformedInnerLists) {
  for (const char* text : {"sig1",
                           "sig1=",
                           "sig1=(",
                           "sig1=(\"a\"",
                           "sig1=(\"a)",
                           "sig1=(\"a\"\"b\")",
                           "sig1=(a)",
                           "sig1=(\"a\";req)",
                           "sig1=(\"a\");",
                           "sig1=(\"a\");=1",
                           "sig1=(\"a\");X=1",
                           "sig1=(\"a\");x=",
                           "sig1=(\"a\");x=1.5",
                           "sig1=(\"a\");x=1234567890123456",
                           "sig1=(\"a\");x=-",
                           "sig1=(\"a\");x=\"a",
                           "sig1=(\"a\");x=\"a\\z\"",
                           "sig1=(\"a\");x=1;x=1",
                           "sig1=(\"a\");x=?2",
                           "sig1=(\"a\") x",
                           "sig1=(\"a\x01\")",
                           "sig1=(\"a\"),",
                           "sig1=(),sig1=()"}) {
    EXPECT_FALSE(parse_inner_lists(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace culvert::http
