#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert {
namespace {

using ::testing::ElementsAre;

std::string fault(std::string_view text) {
  auto parsed = parse_json_object("the text", text);
  return parsed ? "valid" : parsed.error().message;
}

TEST(Json, AMemberThatIsGivenTwiceIsRefusedAtEveryDepth) {
  EXPECT_EQ(fault(R"({"a":1,"b":2,"a":1})"), R"(the text: member "a" is given twice; keep one)");
  EXPECT_EQ(fault(R"({"a":[{"b":{"c":1,"c":2}}]})"), R"(the text: member "c" is given twice; keep one)");
  EXPECT_EQ(fault(R"({"a":1,"\u0061":1})"), R"(the text: member "a" is given twice; keep one)");
  EXPECT_EQ(fault(R"({"a":{"b":1},"c":{"b":1},"b":[{"b":1},{"b":2}]})"), "valid");
  const std::string key(5000, 'k');  // longer than any buffer of the parser
  EXPECT_EQ(fault("{\"" + key + "\":1,\"" + key + "x\":1}"), "valid");
  EXPECT_THAT(fault("{\"" + key + "\":1,\"" + key + "\":1}"), ::testing::HasSubstr("is given twice"));
}

TEST(Json, AFaultHasItsPlace) {
  EXPECT_EQ(fault("{\"a\":1,\n\"b\" 2}"), "the text: invalid JSON in line 2, byte 12: syntax error");
  EXPECT_EQ(fault("{\"a\":"), "the text: invalid JSON in line 1, byte 5: the text ends too early");
  EXPECT_EQ(fault(""), "the text: invalid JSON in line 1, byte 0: the text ends too early");
  EXPECT_THAT(fault("{} {}"), ::testing::HasSubstr("the text: invalid JSON"));
  EXPECT_EQ(fault(" {} \n"), "valid");
  EXPECT_EQ(fault("[]"), "the text is not a JSON object");
  EXPECT_THAT(fault(std::string(17, '[') + std::string(17, ']')), ::testing::HasSubstr("invalid JSON"));
  EXPECT_EQ(fault("{\"a\":" + std::string(15, '[') + std::string(15, ']') + "}"), "valid");
}

TEST(Json, UnknownMembersAreNamedWithTheKnownOnes) {
  auto object = parse_json_object("it", R"({"a":1,"c":2})").value();
  EXPECT_TRUE(refuse_unknown_members("it", object, {"a", "c"}));
  EXPECT_EQ(refuse_unknown_members("it", object, {"a", "b"}).error().message,
            R"(it has an unknown member "c" (expected a, b))");
}

TEST(JsonReader, ReadsEachType) {
  const auto object =
      parse_json_object("it", R"({"t":"x","i":-3,"b":true,"l":["p","q"],"y":"AAEC"})").value();
  JsonReader reader("it", object);
  EXPECT_EQ(reader.text("t"), "x");
  EXPECT_EQ(reader.optional_text("none"), "");
  EXPECT_EQ(reader.integer("i", -5, 5), -3);
  EXPECT_TRUE(reader.boolean("b"));
  EXPECT_THAT(reader.texts("l"), ElementsAre("p", "q"));
  EXPECT_EQ(reader.bytes<3>("y"), (std::array<uint8_t, 3>{0, 1, 2}));
  EXPECT_FALSE(reader.error());
}

TEST(JsonReader, TheFirstErrorStays) {
  const auto object = parse_json_object("it", R"({"t":1,"i":7,"y":"AAEC","k":"z","l":["p",1]})").value();
  const auto error = [&](auto read) {
    JsonReader reader("it", object);
    read(reader);
    const std::string message = reader.error() ? reader.error()->message : "none";
    reader.text("missing");
    EXPECT_EQ(reader.error()->message, message == "none" ? "it: member \"missing\" is missing" : message);
    return message;
  };
  EXPECT_EQ(error([](auto& r) { r.text("t"); }), R"(it: member "t" is not a string)");
  EXPECT_EQ(error([](auto& r) { r.integer("i", 0, 6); }), R"(it: member "i" is not an integer from 0 to 6)");
  EXPECT_EQ(error([](auto& r) { r.boolean("t"); }), R"(it: member "t" is not true or false)");
  EXPECT_EQ(error([](auto& r) { r.array("t"); }), R"(it: member "t" is not an array)");
  EXPECT_EQ(error([](auto& r) { r.texts("l"); }), R"(it: member "l" holds something that is not a string)");
  EXPECT_EQ(error([](auto& r) { r.key("k"); }), R"(it: member "k" is not a public key)");
  EXPECT_EQ(error([](auto& r) { r.template bytes<4>("y"); }),
            R"(it: member "y" is not 4 bytes in unpadded base64url)");
  EXPECT_EQ(error([](auto& r) { r.text("none"); }), R"(it: member "none" is missing)");
}

}  // namespace
}  // namespace culvert
