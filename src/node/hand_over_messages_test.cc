#include "node/hand_over_messages.h"

#include <gmock/gmock.h>

namespace culvert::node {
namespace {

using ::testing::HasSubstr;

const SocketAddr kAddress = SocketAddr::parse("203.0.113.1:443").value();
const SocketAddr kOther = SocketAddr::parse("[2001:db8::1]:443").value();

template <class T>
T again(const T& message) {
  auto decoded = decode_hand_over(encode(message));
  EXPECT_TRUE(decoded) << decoded.error().message;
  return std::get<T>(*decoded);
}

std::string refusal(std::string_view text) {
  auto decoded = decode_hand_over(as_bytes(text));
  EXPECT_FALSE(decoded) << text;
  return decoded ? "" : decoded.error().message;
}

TEST(HandOverMessages, EachIsReadAsItWasWritten) {
  const auto hello = again(HandOverHello{
      .version = "1.2", .id = "key", .roles = "hub,edge", .workers = 2, .tcp = kAddress, .udp = kOther});
  EXPECT_EQ(hello.protocol, kHandOverProtocol);
  EXPECT_EQ(hello.roles, "hub,edge");
  EXPECT_EQ(hello.workers, 2u);
  EXPECT_EQ(hello.tcp, kAddress);
  EXPECT_EQ(hello.udp, kOther);
  EXPECT_EQ(again(HandOverRefused{"no \"way\""}).reason, "no \"way\"");
  const auto accepted = again(HandOverAccepted{255, "1.1", 4711});
  EXPECT_EQ(accepted.generation, 255);
  EXPECT_EQ(accepted.pid, 4711);
  (void)again(HandOverReady{});
  const auto sockets = again(
      HandOverSockets{{{net::SocketKind::kTcp, kAddress, {}}, {net::SocketKind::kUdp, kOther, {0, 1, 255}}}});
  ASSERT_EQ(sockets.sockets.size(), 2u);
  EXPECT_EQ(sockets.sockets[0].kind, net::SocketKind::kTcp);
  EXPECT_EQ(sockets.sockets[1].address, kOther);
  EXPECT_EQ(sockets.sockets[1].feeds, (std::vector<uint8_t>{0, 1, 255}));
  const auto released =
      again(HandOverReleased{.has_database_lock = true, .run = "0123", .predecessors = {{3, 17}, {4, 18}}});
  EXPECT_TRUE(released.has_database_lock);
  EXPECT_EQ(released.run, "0123");
  ASSERT_EQ(released.predecessors.size(), 2u);
  EXPECT_EQ(released.predecessors[1].generation, 4);
  EXPECT_EQ(released.predecessors[1].pid, 18);
  (void)again(HandOverServing{});
  EXPECT_EQ(again(HandOverLeft{200}).connections, 200u);
  const auto passed = again(HandOverPassed{"hub.example.com", kAddress, kOther, Bytes{0, 255, 22}});
  EXPECT_EQ(passed.host, "hub.example.com");
  EXPECT_EQ(passed.client, kAddress);
  EXPECT_EQ(passed.received, (Bytes{0, 255, 22}));
  const auto routes = again(HandOverRoutes{{"{\"match\":\"a\"}"}, {"b.example.com"}});
  EXPECT_EQ(routes.upserts, std::vector<std::string>{"{\"match\":\"a\"}"});
  EXPECT_EQ(routes.removals, std::vector<std::string>{"b.example.com"});
  (void)again(HandOverStop{});
}

TEST(HandOverMessages, WhatIsWrongIsSaid) {
  EXPECT_THAT(refusal(""), HasSubstr("hand-over message"));
  EXPECT_THAT(refusal("{}"), HasSubstr("type"));
  EXPECT_THAT(refusal(R"({"type":"take-all"})"), HasSubstr("take-all"));
  EXPECT_THAT(refusal(R"({"type":"hello","protocol":1,"id":"k","roles":"hub","workers":0})"),
              HasSubstr("workers"));
  EXPECT_THAT(refusal(R"({"type":"accepted","generation":256,"pid":1})"), HasSubstr("generation"));
  EXPECT_THAT(refusal(R"({"type":"sockets","sockets":[1]})"), HasSubstr("not an object"));
  EXPECT_THAT(refusal(R"({"type":"sockets","sockets":[{"kind":"sctp","address":"1.2.3.4:5","feeds":[]}]})"),
              HasSubstr("neither tcp nor udp"));
  EXPECT_THAT(refusal(R"({"type":"sockets","sockets":[{"kind":"tcp","address":"here","feeds":[]}]})"),
              HasSubstr("not an address"));
  EXPECT_THAT(refusal(R"({"type":"sockets","sockets":[{"kind":"udp","address":"1.2.3.4:5","feeds":[-1]}]})"),
              HasSubstr("not a generation"));
  EXPECT_THAT(refusal(R"({"type":"passed","client":"1.2.3.4:5","public_addr":"1.2.3.4:5","received":"!"})"),
              HasSubstr("base64url"));
  EXPECT_THAT(refusal(R"({"type":"left","connections":-1})"), HasSubstr("connections"));
  HandOverReleased many;
  many.predecessors.resize(kMaxPredecessors + 1, {1, 1});
  EXPECT_THAT(refusal(as_text(encode(many))), HasSubstr("too many"));
}

TEST(HandOverMessages, AnotherProtocolIsKnownByItsNumberAlone) {
  auto hello = decode_hand_over(as_bytes(R"({"type":"hello","protocol":2,"shape":"of the future"})"));
  ASSERT_TRUE(hello) << hello.error().message;
  EXPECT_EQ(std::get<HandOverHello>(*hello).protocol, 2);
}

}  // namespace
}  // namespace culvert::node
