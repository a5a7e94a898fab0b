#include "edge/first_request.h"

#include <gtest/gtest.h>

namespace culvert::edge {
namespace {

TEST(FirstRequest, SafeRequestsMayBeRepeatedWhileNothingFollowsThem) {
  for (std::string_view text : {
           "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
           "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
           "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
           "TRACE / HTTP/1.1\nHost: a\n\n",
           "GET / HTTP/1.1\r\nHost: a\r\n",  // the rest has not come yet
           "GET /",
       }) {
    EXPECT_TRUE(may_be_repeated(as_bytes(text))) << text;
  }
}

TEST(FirstRequest, AnythingElseMayNot) {
  for (std::string_view text : {
           "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
           "PUT / HTTP/1.1\r\nHost: a\r\n\r\n",
           "get / HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET",  // may become GETTY
           "GE",
           "",
           "\r\nGET / HTTP/1.1\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\n",
           "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
           "GET / HTTP/1.1\n\nPOST / HTTP/1.1\n\n",
           "GET / HTTP/1.1\n\r\nDELETE / HTTP/1.1\n\n",
           "SSH-2.0-x\r\n",
       }) {
    EXPECT_FALSE(may_be_repeated(as_bytes(text))) << text;
  }
}

}  // namespace
}  // namespace culvert::edge
