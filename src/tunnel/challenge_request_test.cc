#include "tunnel/challenge_request.h"

#include <gtest/gtest.h>

#include <string>

namespace culvert::tunnel {
namespace {

TEST(ChallengeRequest, NothingElseIsOne) {
  const std::string path(kChallengePath);
  EXPECT_TRUE(is_challenge_request("GET", path + "aZ09-_"));
  EXPECT_TRUE(is_challenge_request("HEAD", path + "t"));
  EXPECT_TRUE(is_challenge_request("GET", path + std::string(kMaxChallengeToken, 'a')));
  EXPECT_FALSE(is_challenge_request("GET", path + std::string(kMaxChallengeToken + 1, 'a')));
  for (const char* method : {"POST", "PUT", "get", "", "CONNECT", "OPTIONS"})
    EXPECT_FALSE(is_challenge_request(method, path + "t")) << method;
  for (const char* rest : {"", "a/b", "..", "a?x", "a%2e", "a b", "../../admin", "a#b", "a."})
    EXPECT_FALSE(is_challenge_request("GET", path + rest)) << rest;
  for (const char* target : {"/", "", "/.well-known/acme-challenge", "/x/.well-known/acme-challenge/t",
                             "http://a.test/.well-known/acme-challenge/t", "//.well-known/acme-challenge/t"})
    EXPECT_FALSE(is_challenge_request("GET", target)) << target;
}

}  // namespace
}  // namespace culvert::tunnel
