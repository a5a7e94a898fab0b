#include "ca/http_location.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ca {
namespace {

TEST(HttpLocation, FollowsRedirects) {
  const HttpLocation from{.is_https = false, .host = "a.test", .target = "/x"};
  const HttpPorts ports{.http = 5002, .tls = 5001};
  const auto followed = [&](const char* location) {
    const auto to = from.follow(location, ports);
    return to ? to->to_string() : to.error().message;
  };
  EXPECT_EQ(followed("/y?z#f"), "http://a.test/y?z");
  EXPECT_EQ(followed("HTTP://B.test/y"), "http://b.test/y");
  EXPECT_EQ(followed("http://b.test:80"), "http://b.test/");
  EXPECT_EQ(followed("http://b.test:5002/y"), "http://b.test/y");
  EXPECT_EQ(followed("https://b.test:443/y"), "https://b.test/y");
  EXPECT_EQ(followed("https://b.test:5001/y"), "https://b.test/y");
  EXPECT_EQ(followed("http://[::1]/y"), "http://[::1]/y");
  for (const char* bad : {"", "y", "//b.test/", "ftp://b.test/", "http://", "https://u@b.test/", "/a\nb",
                          "http://b.test:22/", "https://b.test:80/", "https://b.test:5002/"}) {
    EXPECT_FALSE(from.follow(bad, ports)) << bad;
  }
}

}  // namespace
}  // namespace culvert::ca
