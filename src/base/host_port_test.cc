#include "base/host_port.h"

#include <gtest/gtest.h>

namespace culvert {
namespace {

TEST(HostPort, WhatPeopleWriteIsReadAndWrittenBack) {
  for (const auto* text :
       {"localhost:3000", "192.0.2.1:443", "[::1]:1", "[fd00::1:2]:65535", "my_app.Example.eu:80"}) {
    auto parsed = parse_host_port(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->to_string(), text);
  }
  EXPECT_EQ(parse_host_port("[::1]:80").value(), (HostPort{"::1", 80}));
}

TEST(HostPort, WhatIsWrongIsSaidWithAnExample) {
  const auto message = [](std::string_view text) {
    auto parsed = parse_host_port(text);
    return parsed ? "valid" : parsed.error().message;
  };
  EXPECT_EQ(message("http://a:1"), "\"http://a:1\" is a URL (expected host:port, without a scheme or path)");
  EXPECT_EQ(message("localhost"), "\"localhost\" has no port (expected host:port, like localhost:3000)");
  EXPECT_EQ(message("[::1]"), "\"[::1]\" has no port (expected host:port, like localhost:3000)");
  EXPECT_EQ(message("::1:80"), "\"::1:80\" is ambiguous; put an IPv6 address in brackets, like [::1]:3000");
  EXPECT_EQ(message("[1.2.3.4]:80"),
            "\"[1.2.3.4]:80\" is not an IPv6 address with a port (expected one like [::1]:3000)");
  EXPECT_EQ(message("a:0"), "\"a:0\" does not end in a port from 1 to 65535");
  for (const auto* text : {"", ":", ":80", "a b:80", "a:", "a:65536", "a:-1", "a:+1", "a: 1", "a:1 ",
                           "[::1]:0", "[]:1", "[:1", "a/b:1", "u@a:1", "host:8x", "[zz]:80", "host:80/"}) {
    EXPECT_FALSE(parse_host_port(text)) << text;
  }
}

}  // namespace
}  // namespace culvert
