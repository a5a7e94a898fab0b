#include "hubapi/route_stream.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "hubapi/route_digest.h"

namespace culvert::hubapi {
namespace {

SecretKey key_of(uint8_t seed) { return *SecretKey::from_seed(Bytes(SecretKey::kSize, seed)); }

TEST(HeldRoutes, RoundTrip) {
  const HeldRoutes held{.at = {0x0123456789abcdef, 42}, .digest = sha256(as_bytes("x"))};
  auto read = decode_held_routes(held.encode());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, held);
}

TEST(HeldRoutes, RefusesAnythingElse) {
  const std::string digest(64, 'a');
  for (const std::string& text :
       {std::string(), std::string("."), std::string(".."), "0123456789abcdef." + digest,
        "0123456789abcde.1." + digest, "0123456789abcdef.-1." + digest, "0123456789abcdef.1." + digest + "a",
        "0123456789abcdef.1.1." + digest, "0123456789ABCDEF.1." + digest}) {
    EXPECT_FALSE(decode_held_routes(text)) << text;
  }
}

TEST(RouteStream, LinesRoundTrip) {
  const Seal seal = Seal::make(key_of(1), {7, 8}, 9, sha256(as_bytes("routes")));
  const std::vector<StreamLine> lines{SnapshotHead{3}, DeltaHead{1, {"a.example.com", "*.b.example.com"}},
                                      seal, Alive{}, DeclareAgain{std::chrono::seconds(5)}};
  for (const StreamLine& line : lines) {
    auto read = decode_stream_line(encode(line));
    ASSERT_TRUE(read && *read) << encode(line);
    EXPECT_EQ(**read, line);
  }
}

TEST(RouteStream, ANewerHubMaySayMore) {
  auto unknown = decode_stream_line(R"({"type":"weather","sun":1})");
  ASSERT_TRUE(unknown);
  EXPECT_FALSE(unknown->has_value());
  EXPECT_TRUE(decode_stream_line(R"({"type":"alive","load":3})"));
}

TEST(RouteStream, DamagedLinesAreRefused) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"type":1})", R"({"type":"snapshot"})", R"({"type":"snapshot","routes":-1})",
        R"({"type":"delta","routes":0})", R"({"type":"delta","routes":0,"removals":[1]})",
        R"({"type":"seal","epoch":"x","version":1,"routes":1,"digest":"","signature":""})",
        R"({"type":"declare","spread_ms":-1})"}) {
    EXPECT_FALSE(decode_stream_line(text)) << text;
  }
}

TEST(Seal, IsBoundToAllItSays) {
  const SecretKey key = key_of(1);
  const Seal seal = Seal::make(key, {7, 8}, 9, sha256(as_bytes("routes")));
  EXPECT_TRUE(seal.is_signed_by(key.public_key()));
  EXPECT_FALSE(seal.is_signed_by(key_of(2).public_key()));
  for (int member = 0; member < 4; ++member) {
    Seal changed = seal;
    if (member == 0) ++changed.at.epoch;
    if (member == 1) ++changed.at.version;
    if (member == 2) ++changed.routes;
    if (member == 3) changed.digest[0] ^= 1;
    EXPECT_FALSE(changed.is_signed_by(key.public_key())) << member;
  }
}

TEST(RouteText, RoundTrips) {
  route::Route route{*route::HostPattern::parse("*.dev.example.com"),
                     key_of(3).public_key(),
                     route::TlsMode::kTerminate,
                     {{key_of(4).public_key()}, {key_of(5).public_key()}},
                     true};
  auto read = decode_route(encode_route(route));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, route);
  EXPECT_FALSE(decode_route("{}"));
  EXPECT_FALSE(decode_route(R"({"match":"a"})"));
  const route::Route reserved{
      *route::HostPattern::parse("a.example.com"), key_of(3).public_key(), std::nullopt, {}};
  EXPECT_EQ(decode_route(encode_route(reserved)).value(), reserved);
  const route::Route port{.match = route::PublicPort{route::PortProtocol::kTcp, 2222},
                          .tenant = key_of(3).public_key(),
                          .tls_mode = std::nullopt,
                          .targets = {{key_of(4).public_key()}},
                          .is_suspended = false,
                          .service = "ssh \u00e9 \"quoted\"",
                          .own_limits = {.connections = 7,
                                         .connections_per_second = 8,
                                         .bytes_per_second = 4'000'000'000,
                                         .udp_flows = 9},
                          .ends_at = UnixTime(std::chrono::seconds(1'800'000'000))};
  EXPECT_EQ(decode_route(encode_route(port)).value(), port);
  EXPECT_FALSE(encode_route(reserved).contains("max_")) << "what a tenant does not have is not told";
}

TEST(RouteDigest, IsASumOverTheSet) {
  const Sha256 a = sha256(as_bytes("a")), b = sha256(as_bytes("b"));
  RouteDigest one, other;
  one.add(a);
  one.add(b);
  other.add(b);
  other.add(a);
  EXPECT_EQ(one.value(), other.value());
  other.remove(a);
  EXPECT_NE(one.value(), other.value());
  one.remove(a);
  EXPECT_EQ(one.value(), other.value());
  one.remove(b);
  EXPECT_EQ(one.value(), RouteDigest().value());
}

// What every version of the program computes: digests of other hubs and of files depend on it.
TEST(RouteDigest, KnownVector) {
  RouteDigest digest;
  digest.add(sha256(as_bytes("abc")));
  EXPECT_EQ(to_hex(digest.value()), "38abb99490c40df0ac15f22d7ae25c05fc571e57777dbbc83f6909de6d9b27be");
}

}  // namespace
}  // namespace culvert::hubapi
