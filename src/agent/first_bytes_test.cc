#include "agent/first_bytes.h"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using tunnel::StreamKind;

struct Case {
  StreamKind kind;
  bool proxy_sent;
  std::string_view bytes;
  std::optional<Refusal> expected;
};

constexpr auto kPass = StreamKind::kPassthrough;
constexpr auto kTerm = StreamKind::kTerminate;
constexpr auto kPort = StreamKind::kTcpPort;

TEST(FirstBytes, TellsRefusalsFromConversations) {
  using namespace std::string_view_literals;
  for (const Case& c : std::initializer_list<Case>{
           {kPass, true, "", Refusal::kProxyProtocol},
           {kTerm, true, "", Refusal::kProxyProtocol},
           {kPass, false, "", std::nullopt},
           {kPort, true, "", Refusal::kProxyProtocol},
           {kPort, false, "", std::nullopt},
           {kPort, true, "HTTP/1.1 400 Bad Request\r\n", std::nullopt},
           {kPort, false, "SSH-2.0-x", std::nullopt},
           {kTerm, false, "", std::nullopt},
           {kPass, true, "\x15\x03\x01\x00\x02\x02\x46"sv, Refusal::kProxyProtocol},
           {kPass, false, "\x15\x03\x01\x00\x02\x02\x46"sv, std::nullopt},
           {kPass, true, "<!DOCTYPE HTML>", Refusal::kProxyProtocol},
           {kPass, false, "<!DOCTYPE HTML>", Refusal::kPlainHttp},
           {kPass, true, "\x16\x03\x03\x00\x7a\x02"sv, std::nullopt},
           {kPass, true, "HTTP/1.1 400 Bad Request\r\n", Refusal::kProxyProtocol},
           {kPass, false, "HTTP/1.1 400 Bad Request\r\n", Refusal::kPlainHttp},
           {kPass, false, "HTTP/1.0 200 OK", Refusal::kPlainHttp},
           {kPass, false, "SSH-2.0-x", Refusal::kPlainHttp},
           {kTerm, true, "HTTP/1.1 400 Bad Request\r\n", Refusal::kProxyProtocol},
           {kTerm, true, "HTTP/1.1 200 OK\r\n", std::nullopt},
           {kTerm, false, "HTTP/1.1 400 Bad Request\r\n", std::nullopt},
           {kTerm, true, "\x15\x03\x01"sv, std::nullopt},
           {kTerm, false, "\x15\x03\x01\x00\x02\x02\x46"sv, Refusal::kHttps},
           {kTerm, false, "\x15"sv, std::nullopt},
           {kTerm, false,
            "HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\n\r\n<html>\r\n<head><title>400 The plain "
            "HTTP "
            "request was sent to HTTPS port</title></head>",
            Refusal::kHttps},
           {kTerm, true, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            Refusal::kHttps},
           {kTerm, false, "HTTP/1.1 200 OK\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            std::nullopt},
       }) {
    for (size_t piece : {1u, 5u, 100u}) {
      FirstBytes first(c.kind, c.proxy_sent);
      for (size_t at = 0; at < c.bytes.size(); at += piece)
        first.origin_bytes(as_bytes(c.bytes.substr(at, piece)));
      EXPECT_EQ(first.verdict(true), c.expected) << c.bytes << " in pieces of " << piece;
    }
  }
}

TEST(FirstBytes, SilenceOfAnOriginThatDidNotEndMeansNothing) {
  EXPECT_EQ(FirstBytes(kPass, true).verdict(false), std::nullopt);
  FirstBytes spoke(kPass, true);
  spoke.origin_bytes(as_bytes("HTTP/1.1 400 Bad Request"));
  EXPECT_EQ(spoke.verdict(false), Refusal::kProxyProtocol);
}

TEST(FirstBytes, OnlyTheBeginningOfAPageIsKept) {
  FirstBytes first(kTerm, false);
  first.origin_bytes(as_bytes("HTTP/1.1 400 Bad Request\r\n\r\n"));
  for (int i = 0; i < 20; ++i) first.origin_bytes(as_bytes(std::string(100, 'x')));
  first.origin_bytes(as_bytes("HTTP request to an HTTPS server"));
  EXPECT_EQ(first.verdict(true), std::nullopt);
}

TEST(FirstBytes, HintsNameTheSetting) {
  EXPECT_NE(std::string_view(hint(Refusal::kHttps)).find("tls_mode"), std::string_view::npos);
  EXPECT_NE(std::string_view(hint(Refusal::kProxyProtocol)).find("proxy_protocol"), std::string_view::npos);
  EXPECT_NE(std::string_view(hint(Refusal::kPlainHttp)).find("tls_mode"), std::string_view::npos);
}

}  // namespace
}  // namespace culvert::agent
