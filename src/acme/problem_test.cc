#include "acme/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace culvert::acme {
namespace {

using ::testing::HasSubstr;

Problem problem_of(const std::string& name) {
  return parse_problem(400, R"({"type":"urn:ietf:params:acme:error:)" + name + R"(","detail":"the reason"})");
}

TEST(Problem, EveryTypeHasItsNameAndAdvice) {
  std::set<std::string> advices;
  for (size_t i = 1; i < kProblemTypes; ++i) {
    const auto type = static_cast<ProblemType>(i);
    const Problem problem = problem_of(to_string(type));
    EXPECT_EQ(problem.type, type) << to_string(type);
    EXPECT_EQ(problem.detail, "the reason");
    const Failure failure = refused("the CA", "the order for a.test", problem);
    EXPECT_THAT(failure.error.message, HasSubstr(to_string(type)));
    EXPECT_THAT(failure.error.message, HasSubstr("the order for a.test"));
    EXPECT_THAT(failure.error.message, HasSubstr(advice(type)));
    EXPECT_THAT(failure.error.message, HasSubstr("the reason"));
    advices.insert(advice(type));
  }
  EXPECT_EQ(advices.size(), kProblemTypes - 1) << "each says what to do about itself";
}

TEST(Problem, TheStatusSpeaksWhereTheBodyDoesNot) {
  struct Case {
    int status;
    const char* body;
    ProblemType type;
  };
  for (const Case& c :
       {Case{429, "", ProblemType::kRateLimited}, Case{503, "<html>busy", ProblemType::kServerInternal},
        Case{500, "[]", ProblemType::kServerInternal}, Case{404, "{}", ProblemType::kNone},
        Case{400, R"({"type":"about:blank"})", ProblemType::kNone},
        Case{400, R"({"type":5,"detail":[],"subproblems":{}})", ProblemType::kNone}}) {
    const Problem problem = parse_problem(c.status, c.body);
    EXPECT_EQ(problem.type, c.type) << c.body;
    EXPECT_EQ(problem.detail, fmt::format("HTTP status {}", c.status));
  }
}

TEST(Problem, PartsNameTheirNames) {
  const Problem problem = parse_problem(403, R"({"type":"urn:ietf:params:acme:error:compound","detail":"two",
      "subproblems":[5,
        {"type":"urn:ietf:params:acme:error:dns","detail":"NXDOMAIN","identifier":{"type":"dns","value":"b.test"}},
        {"type":"urn:ietf:params:acme:error:caa","detail":"other CA"}]})");
  ASSERT_EQ(problem.parts.size(), 2u);
  EXPECT_EQ(problem.parts[0].type, ProblemType::kDns);
  EXPECT_EQ(problem.parts[0].identifier, "b.test");
  const Failure failure = refused("the CA", "x", problem);
  EXPECT_THAT(failure.error.message, HasSubstr("\"b.test\" (dns): "));
  EXPECT_THAT(failure.error.message, HasSubstr("CAA records"));
  EXPECT_FALSE(not_proven("the CA", "x", problem).is_of_name) << "another CA may be in the CAA records";
}

TEST(Problem, ManyPartsAreCut) {
  std::string body = R"({"type":"x","subproblems":[)";
  for (int i = 0; i < 50; ++i) body += R"({"type":"y"},)";
  EXPECT_EQ(parse_problem(400, body + R"({"type":"y"}]})").parts.size(), Problem::kMaxParts);
}

TEST(Problem, WhoseFaultItIs) {
  for (const char* name : {"connection", "dns", "tls", "incorrectResponse", "unauthorized"}) {
    EXPECT_TRUE(not_proven("the CA", "x", problem_of(name)).is_of_name) << name;
  }
  for (const char* name : {"caa", "rateLimited", "serverInternal", "rejectedIdentifier", "malformed"}) {
    EXPECT_FALSE(not_proven("the CA", "x", problem_of(name)).is_of_name) << name;
  }
  EXPECT_FALSE(refused("the CA", "x", problem_of("unauthorized")).is_of_name) << "that is the account";
}

TEST(Problem, WhatTheCaWritesIsShownSafely) {
  const Problem problem = parse_problem(400, R"({"type":"x","detail":"a\u001b[31m\nb"})");
  const Failure failure = refused("the CA", "x", problem);
  EXPECT_EQ(failure.error.message.find('\n'), std::string::npos);
  EXPECT_EQ(failure.error.message.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace culvert::acme
