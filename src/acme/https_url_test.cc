#include "acme/https_url.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

TEST(HttpsUrl, IsTakenApart) {
  struct Case {
    const char *text, *host;
    uint16_t port;
    const char *target, *authority;
  };
  for (const Case& c : {
           Case{"https://acme.example/dir?x=y", "acme.example", 443, "/dir?x=y", "acme.example"},
           Case{"HTTPS://ACME.example", "acme.example", 443, "/", "acme.example"},
           Case{"https://acme.example?x", "acme.example", 443, "/?x", "acme.example"},
           Case{"https://127.0.0.1:14000/dir", "127.0.0.1", 14000, "/dir", "127.0.0.1:14000"},
           Case{"https://[::1]/dir", "::1", 443, "/dir", "[::1]"},
           Case{"https://[::1]:8443/dir", "::1", 8443, "/dir", "[::1]:8443"},
       }) {
    const auto url = parse_https_url(c.text);
    ASSERT_TRUE(url) << c.text << ": " << url.error().message;
    EXPECT_EQ(url->host, c.host);
    EXPECT_EQ(url->port, c.port);
    EXPECT_EQ(url->target, c.target);
    EXPECT_EQ(url->authority(), c.authority);
    EXPECT_EQ(parse_https_url(url->to_string()), *url);
  }
}

TEST(HttpsUrl, RefusesOthers) {
  for (const std::string& text :
       {std::string(), std::string("http://acme.example/dir"), std::string("acme.example/dir"),
        std::string("https://"), std::string("https:///dir"), std::string("https://user@acme.example/"),
        std::string("https://acme.example/#x"), std::string("https://acme.example/a b"),
        std::string("https://acme.example/\r\nX: y"), std::string("https://acme.example:0/"),
        std::string("https://acme.example:/"), "https://acme.example/" + std::string(kMaxUrl, 'x')}) {
    EXPECT_FALSE(parse_https_url(text)) << text;
  }
}

}  // namespace
}  // namespace culvert::acme
