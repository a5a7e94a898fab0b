#include "acme/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

using ::testing::HasSubstr;

TEST(Documents, Directory) {
  const auto directory = parse_directory(R"({
    "newNonce":"https://a.example/n","newAccount":"https://a.example/a","newOrder":"https://a.example/o",
    "revokeCert":"https://a.example/r","keyChange":"https://a.example/k","renewalInfo":"https://a.example/i",
    "meta":{"termsOfService":"https://a.example/t","externalAccountRequired":true,"website":5,
            "profiles":{"classic":"https://a.example/p","shortlived":"x"}},
    "h3YpK":"https://community.example/unknown"})");
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_EQ(directory->new_order, "https://a.example/o");
  EXPECT_EQ(directory->renewal_info, "https://a.example/i");
  EXPECT_TRUE(directory->external_account_required);
  EXPECT_EQ(directory->profiles, (std::vector<std::string>{"classic", "shortlived"}));
}

TEST(Documents, DirectoryWithoutTheNewerParts) {
  const auto directory = parse_directory(
      R"({"newNonce":"https://a.example/n","newAccount":"https://a.example/a","newOrder":"https://a.example/o"})");
  ASSERT_TRUE(directory) << directory.error().message;
  EXPECT_EQ(directory->renewal_info, "");
  EXPECT_FALSE(directory->external_account_required);
  EXPECT_THAT(parse_directory(R"({"newNonce":"https://a.example/n","newAccount":"http://a.example/a"})")
                  .error()
                  .message,
              HasSubstr("newAccount"));
  EXPECT_THAT(parse_directory("<html>").error().message, HasSubstr("directory"));
}

TEST(Documents, Order) {
  const auto order =
      parse_order(R"({"status":"invalid","expires":"x","identifiers":[{"type":"dns","value":"a.test"}],
    "authorizations":["https://a.example/z/1","https://a.example/z/2"],"finalize":"https://a.example/f",
    "error":{"type":"urn:ietf:params:acme:error:caa","detail":"no"}})");
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(order->status, OrderStatus::kInvalid);
  EXPECT_EQ(order->authorizations.size(), 2u);
  EXPECT_EQ(order->error->type, ProblemType::kCaa);
  for (const char* text :
       {R"({"status":"valid","authorizations":[],"finalize":"https://a.example/f"})",
        R"({"status":"other","authorizations":[],"finalize":"https://a.example/f"})",
        R"({"status":"pending","authorizations":["ftp://a.example"],"finalize":"https://a.example/f"})",
        R"({"status":"pending","authorizations":[5],"finalize":"https://a.example/f"})",
        R"({"status":"pending","authorizations":[]})", "[]"}) {
    EXPECT_FALSE(parse_order(text)) << text;
  }
  std::string many =
      R"({"status":"pending","finalize":"https://a.example/f","authorizations":["https://a.example/")";
  for (size_t i = 0; i < Order::kMaxAuthorizations; ++i) many += R"(,"https://a.example/")";
  EXPECT_EQ(parse_order(many + "]}").error().code, ErrorCode::kLimit);
}

TEST(Documents, AuthorizationKeepsTheChallengesThatAreKnown) {
  const auto authorization =
      parse_authorization(R"({"status":"pending","identifier":{"type":"dns","value":"A.test"},
    "wildcard":true,"challenges":[
      {"type":"dns-persist-01","url":5,"issuer-domain-names":["a.example"]},
      {"type":"dns-01","url":"https://a.example/c/1","status":"pending","token":"tok-1",
       "error":{"type":"urn:ietf:params:acme:error:dns","detail":"x"}}]})");
  ASSERT_TRUE(authorization) << authorization.error().message;
  EXPECT_EQ(authorization->name, "a.test");
  EXPECT_TRUE(authorization->is_wildcard);
  ASSERT_EQ(authorization->offers.size(), 1u);
  EXPECT_EQ(authorization->offers[0].type, ChallengeType::kDns01);
  EXPECT_EQ(authorization->offers[0].token, "tok-1");
  EXPECT_EQ(authorization->offers[0].error->type, ProblemType::kDns);
  EXPECT_EQ(authorization->type_names, (std::vector<std::string>{"dns-persist-01", "dns-01"}));
}

TEST(Documents, BrokenAuthorizationsAreRefused) {
  const std::string start =
      R"({"status":"pending","identifier":{"type":"dns","value":"a.test"},"challenges":)";
  EXPECT_TRUE(parse_authorization(start + "[]}"));
  for (const std::string& rest :
       {std::string("5}"), std::string("[5]}"), std::string(R"([{"type":5}]})"),
        std::string(R"([{"type":"http-01","url":"https://a.example/","token":"../x"}]})"),
        std::string(R"([{"type":"http-01","url":"http://a.example/","token":"x"}]})"),
        std::string(R"([{"type":"http-01","url":"https://a.example/"}]})"),
        std::string(R"([],"wildcard":"yes"})")}) {
    EXPECT_FALSE(parse_authorization(start + rest)) << rest;
  }
  EXPECT_FALSE(parse_authorization(
      R"({"status":"pending","identifier":{"type":"ip","value":"::1"},"challenges":[]})"));
  EXPECT_FALSE(parse_authorization(R"({"status":"pending","challenges":[]})"));
}

TEST(Documents, RenewalInfo) {
  const auto window = parse_renewal_info(R"({"suggestedWindow":{"start":"2025-01-02T04:00:00Z",
    "end":"2025-01-03T04:00:00Z"},"explanationURL":"https://a.example/why"})");
  ASSERT_TRUE(window) << window.error().message;
  EXPECT_EQ(window->end - window->start, std::chrono::days(1));
  EXPECT_FALSE(parse_renewal_info(
      R"({"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-03T04:00:00Z"}})"));
  EXPECT_FALSE(parse_renewal_info(R"({"suggestedWindow":{"start":"2025-01-03T04:00:00Z"}})"));
  EXPECT_FALSE(parse_renewal_info("{}"));
}

// The example of RFC 9773, 4.1.
TEST(Documents, RenewalId) {
  const Bytes key_id{0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3,
                     0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4};
  EXPECT_EQ(renewal_id(key_id, {0x00, 0x87, 0x65, 0x43, 0x21}), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
  EXPECT_EQ(renewal_id({}, {0x01}), std::nullopt);
}

}  // namespace
}  // namespace culvert::acme
