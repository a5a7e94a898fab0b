#include "http/router.h"

#include <gtest/gtest.h>

#include "http/testing.h"
#include "net/testing.h"

namespace culvert::http {
namespace {

using net::testing::run_task;

class RouterTest : public ::testing::Test {
 public:
  RouterTest() {
    router_.add("GET", "/things", [this](Exchange& e) { return answer("list", e); });
    router_.add(
        "POST", "/things", [this](Exchange& e) { return answer("make", e); },
        [this](const Exchange& e) { return check(e); });
    router_.add("DELETE", "/things/*", [this](Exchange& e) { return answer("remove", e); });
  }

  net::Task<> answer(std::string what, Exchange& exchange) {
    co_await net::sleep_for(loop_, std::chrono::milliseconds(1));  // handlers may wait
    ++handled_;
    auto sent =
        co_await exchange.respond({.status = 200, .headers = {}, .body = what + " [" + exchange.rest + "]"});
    EXPECT_TRUE(sent);
  }
  std::optional<Response> check(const Exchange& exchange) {
    if (exchange.request.headers.find("Authorization")) return std::nullopt;
    return Response{.status = 401, .headers = {}, .body = "who are you"};
  }
  Response call(std::string method, std::string target, bool authorized = true) {
    Request request{.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}};
    if (authorized) request.headers.add("Authorization", "yes");
    testing::MemoryExchange exchange(std::move(request));
    return run_task(loop_, testing::answer_of(router_, exchange));
  }

  net::EventLoop loop_;
  Router router_{{.not_found = [] { return Response{.status = 404, .headers = {}, .body = {}}; },
                  .method_not_allowed =
                      [](std::string_view allowed) {
                        return Response{.status = 405, .headers = {}, .body = std::string(allowed)};
                      }}};
  int handled_ = 0;
};

TEST_F(RouterTest, FindsTheHandlerByMethodAndPath) {
  EXPECT_EQ(call("GET", "/things").body, "list []");
  EXPECT_EQ(call("GET", "/things?a=/things/b").body, "list []") << "the query is no part of the path";
  EXPECT_EQ(call("POST", "/things").body, "make []");
  EXPECT_EQ(call("DELETE", "/things/x").body, "remove [x]");
  EXPECT_EQ(call("DELETE", "/things/").body, "remove []");
  EXPECT_EQ(call("DELETE", "/things/x/y?z").body, "remove [x/y]");
}

TEST_F(RouterTest, UnknownPathsAre404) {
  for (const char* path : {"", "/", "*", "/thing", "/thingsx", "//things", "/things%2fx", "/x/../things"}) {
    EXPECT_EQ(call("GET", path).status, 404) << path;
  }
}

TEST_F(RouterTest, OtherMethodsAre405AndAreToldWhichAreAllowed) {
  Response list = call("PUT", "/things");
  EXPECT_EQ(list.status, 405);
  EXPECT_EQ(*list.headers.find("Allow"), "GET, POST");
  EXPECT_EQ(list.body, "GET, POST");
  EXPECT_EQ(*call("GET", "/things/x").headers.find("Allow"), "DELETE");
  EXPECT_EQ(call("get", "/things").status, 405) << "methods are case-sensitive (RFC 9110, 9.1)";
  EXPECT_EQ(handled_, 0);
}

TEST_F(RouterTest, AStepThatAnswersKeepsTheHandlerFromRunning) {
  EXPECT_EQ(call("POST", "/things", false).status, 401);
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(call("GET", "/things", false).status, 200) << "the step belongs to one route";
  EXPECT_EQ(call("PUT", "/things", false).status, 405);
}

}  // namespace
}  // namespace culvert::http
