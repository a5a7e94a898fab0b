#include "acme/registered_domain.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

TEST(RegisteredDomain, IsWhatSomebodyRegistered) {
  struct Case {
    const char *name, *domain;
  };
  for (const Case& c : {
           Case{"example.com", "example.com"},
           Case{"app.example.com", "example.com"},
           Case{"a.b.app.example.com", "example.com"},
           Case{"*.example.com", "example.com"},
           Case{"app.example.co.uk", "example.co.uk"},
           Case{"example.co.uk", "example.co.uk"},
           Case{"*.example.co.uk", "example.co.uk"},
           Case{"*.co.uk", "co.uk"},
           Case{"co.uk", "co.uk"},
           Case{"app.example.eu", "example.eu"},
           Case{"a.com.example", "com.example"},
           Case{"me.duckdns.org", "duckdns.org"},
           Case{"localhost", "localhost"},
           Case{"*.local", "*.local"},
           Case{"", ""},
       }) {
    EXPECT_EQ(registered_domain(c.name), c.domain) << c.name;
  }
}

}  // namespace
}  // namespace culvert::acme
