#include "acme/record.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

UnixTime at(int64_t seconds) { return UnixTime(std::chrono::seconds(seconds)); }

TEST(Record, IsKept) {
  const Record record{
      .name = "*.a.test",
      .progress = {.failures = 3,
                   .retry_at = at(1),
                   .failed_at = at(2),
                   .last_error = "it says \"no\"\n",
                   .renew_at = at(3),
                   .window = RenewalWindow{.start = at(4), .end = at(5)},
                   .ask_at = at(6)},
      .certificate = StoredCertificate{.chain = "-----BEGIN\n", .key = "secret", .directory = "https://a/"}};
  const auto again = parse_record(encode(record));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->name, record.name);
  EXPECT_EQ(again->progress, record.progress);
  EXPECT_EQ(again->certificate->chain, record.certificate->chain);
  EXPECT_EQ(again->certificate->key, record.certificate->key);
  EXPECT_EQ(again->certificate->directory, record.certificate->directory);

  const auto fresh = parse_record(encode({.name = "a.test"}));
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_EQ(fresh->progress, Progress{});
  EXPECT_FALSE(fresh->certificate);
}

TEST(Record, DamageIsNamed) {
  const std::string whole = encode({.name = "a.test"}).expose();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse_record(SecretString(whole.substr(0, size))));
  for (const char* text :
       {R"({"name":"../a","progress":{}})", R"({"name":"a.test"})", R"({"name":"a.test","progress":[]})",
        R"({"name":"a.test","progress":{"failures":-1}})"}) {
    const auto record = parse_record(text);
    ASSERT_FALSE(record) << text;
    EXPECT_NE(record.error().message.find("member"), std::string::npos) << record.error().message;
  }
}

}  // namespace
}  // namespace culvert::acme
