#include "tunnel/control.h"

#include <gtest/gtest.h>

#include "endpoint/endpoint.h"
#include "net/testing.h"

namespace culvert::tunnel {
namespace {

using net::testing::run_task;
using net::testing::soon;

Bytes framed(std::string_view json) {
  ByteWriter out;
  out.u32(static_cast<uint32_t>(json.size()));
  out.bytes(as_bytes(json));
  return out.take();
}

Result<std::optional<ControlMessage>> read_one(ByteView bytes) {
  ControlReader reader;
  reader.feed(bytes);
  return reader.next();
}

TEST(Control, KnownBytes) {
  EXPECT_EQ(encode(Hello{1, "0.1.0"}), framed(R"({"type":"hello","protocol":1,"agent_version":"0.1.0"})"));
  EXPECT_EQ(encode(Welcome{1, "0.1.0", "h:443"}),
            framed(R"({"type":"welcome","protocol":1,"edge_version":"0.1.0","public_addr":"h:443"})"));
  EXPECT_EQ(encode(Drain{}), framed(R"({"type":"drain"})"));
  EXPECT_EQ(encode(Drained{}), framed(R"({"type":"drained"})"));
  EXPECT_EQ(encode(PortState{{route::PortProtocol::kTcp, 2222}, false, "in use"}),
            framed(R"({"type":"port","port":"tcp/2222","bound":false,"reason":"in use"})"));
  EXPECT_EQ(encode(PortState{{route::PortProtocol::kTcp, 2222}, true, ""}),
            framed(R"({"type":"port","port":"tcp/2222","bound":true})"));
  EXPECT_EQ(encode(Hello{1, "1", {.priority = 2, .weight = 30}}),
            framed(R"({"type":"hello","protocol":1,"agent_version":"1","priority":2,"weight":30})"));
  EXPECT_EQ(encode(Health{"a.test", false, "it is down"}),
            framed(R"({"type":"health","service":"a.test","healthy":false,"reason":"it is down"})"));
  EXPECT_EQ(encode(Health{"tcp:ssh", true, ""}),
            framed(R"({"type":"health","service":"tcp:ssh","healthy":true})"));
}

TEST(Control, RoundTripsInAnyPieces) {
  const ControlMessage messages[] = {Hello{1, "v\"x\n"},
                                     Welcome{1, "v", "[::1]:443"},
                                     Drain{},
                                     Drained{},
                                     PortState{{route::PortProtocol::kTcp, 1}, false, "taken"},
                                     PortState{{route::PortProtocol::kUdp, 65535}, true, ""},
                                     Hello{1, "v", {.priority = 1000, .weight = 1000}},
                                     Health{"*.a.test", false, "it does not answer in time"},
                                     Health{"tcp:ssh", true, ""}};
  Bytes all;
  for (const ControlMessage& message : messages) {
    Bytes bytes = encode(message);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  for (size_t piece : {size_t{1}, size_t{3}, size_t{7}, all.size()}) {
    ControlReader reader;
    std::vector<ControlMessage> got;
    for (size_t at = 0; at < all.size(); at += piece) {
      reader.feed(ByteView(all).subspan(at, std::min(piece, all.size() - at)));
      while (true) {
        auto message = reader.next();
        ASSERT_TRUE(message);
        if (!*message) break;
        got.push_back(**message);
      }
    }
    ASSERT_EQ(got.size(), std::size(messages));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], messages[i]);
  }
}

TEST(Control, UnknownTypesAndMembersArePassedOver) {
  ControlReader reader;
  reader.feed(framed(R"({"type":"dance","steps":[1,2,{"a":null}]})"));
  reader.feed(framed(R"({"type":"drain","until":17})"));
  auto message = reader.next();
  ASSERT_TRUE(message && *message);
  EXPECT_EQ(**message, ControlMessage(Drain{}));
}

TEST(Control, AnotherProtocolIsReadSoThatItCanBeNamed) {
  auto message = read_one(framed(R"({"type":"hello","protocol":7,"new_member":{}})"));
  ASSERT_TRUE(message && *message);
  EXPECT_EQ(std::get<Hello>(**message).protocol, 7);
  auto checked = check_protocol(7, "the agent", "9.9");
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalid);
  EXPECT_NE(checked.error().message.find("protocol 7"), std::string::npos);
  EXPECT_NE(checked.error().message.find("speaks 1"), std::string::npos);
  EXPECT_TRUE(check_protocol(kControlProtocol, "the agent", ""));
}

TEST(Control, MalformedMessagesAreRefused) {
  const char* bad[] = {"",
                       "{",
                       "[]",
                       "17",
                       "{}",
                       R"({"type":3})",
                       R"({"type":"hello"})",
                       R"({"type":"hello","protocol":"1"})",
                       R"({"type":"hello","protocol":1.5})",
                       R"({"type":"hello","protocol":-1})",
                       R"({"type":"hello","protocol":99999999999})",
                       R"({"type":"hello","protocol":1,"agent_version":1})",
                       R"({"type":"welcome","protocol":1,"edge_version":null})",
                       R"({"type":"welcome","protocol":1,"public_addr":[]})",
                       R"({"type":"drain"} trailing)",
                       "{\"type\":\"dr\x80in\"}",
                       R"({"type":"x","a":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]})"};
  for (const char* json : bad) {
    auto message = read_one(framed(json));
    ASSERT_FALSE(message) << json;
    EXPECT_EQ(message.error().code, ErrorCode::kInvalid) << json;
  }
}

TEST(Control, TheLengthIsCapped) {
  ByteWriter too_long;
  too_long.u32(kMaxControlMessage + 1);
  EXPECT_FALSE(read_one(too_long.view()));
  ByteWriter longest;
  longest.u32(kMaxControlMessage);
  auto waiting = read_one(longest.view());
  ASSERT_TRUE(waiting);
  EXPECT_FALSE(*waiting);
}

TEST(Control, OverARealStream) {
  net::EventLoop loop;
  auto key = [](uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); };
  const SocketAddr any = SocketAddr::v4({127, 0, 0, 1}, 0);
  auto edge =
      endpoint::Endpoint::bind(loop, {.key = key(1), .bind = any, .protocols = {{.alpn = "x"}}}).value();
  auto agent = endpoint::Endpoint::bind(loop, {.key = key(2), .bind = any, .limits = {}}).value();
  endpoint::EndpointAddr address{.id = edge->id(), .relay_urls = {}, .ip_addrs = {edge->local_addr()}};
  auto dialled = run_task(loop, agent->connect(address, "x", soon())).value();
  auto accepted = run_task(loop, edge->accept("x")).value();

  ControlStream mine(loop, run_task(loop, dialled->open_bidi()).value());
  ASSERT_TRUE(mine.send(Hello{1, "a"}));
  ControlStream theirs(loop, run_task(loop, accepted->accept_bidi()).value());
  auto hello = run_task(loop, theirs.receive(soon()));
  ASSERT_TRUE(hello);
  EXPECT_EQ(*hello, ControlMessage(Hello{1, "a"}));
  ASSERT_TRUE(theirs.send(Welcome{1, "e", "p:1"}));
  ASSERT_TRUE(theirs.send(Drain{}));
  EXPECT_EQ(run_task(loop, mine.receive(soon())).value(), ControlMessage(Welcome{1, "e", "p:1"}));
  EXPECT_EQ(run_task(loop, mine.receive(soon())).value(), ControlMessage(Drain{}));

  auto late = run_task(loop, mine.receive(monotonic_now() + std::chrono::milliseconds(20)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  accepted->close(4, "draining");
  auto closed = run_task(loop, mine.receive(TimePoint::max()));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, ErrorCode::kClosed);
  EXPECT_EQ(mine.send(Drain{}).error().code, ErrorCode::kClosed);
}

}  // namespace
}  // namespace culvert::tunnel
