#include "quic/protocols.h"

#include <gtest/gtest.h>

#include <array>

#include "quic/core.h"

namespace culvert::quic {
namespace {

core::Slice slice(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::vector<std::string> alpns_of(const core::Policy& policy) {
  std::vector<std::string> out;
  for (size_t i = 0; i < policy.alpn_count; ++i)
    out.emplace_back(reinterpret_cast<const char*>(policy.alpns[i].data), policy.alpns[i].size);
  return out;
}

Limits streams(uint64_t count) {
  Limits limits;
  limits.max_streams_bidi = count;
  return limits;
}

class ProtocolsTest : public testing::Test {
 protected:
  // Notes who asked for which name, and has no certificate.
  CertificateSource source(std::string alpn) {
    return [this, alpn](std::string_view name) -> std::optional<X509Identity> {
      asked_.push_back(alpn + " " + std::string(name));
      return std::nullopt;
    };
  }

  std::vector<std::string> asked_;
  core::EndpointConfig config_{};
};

TEST_F(ProtocolsTest, EachHasItsPolicyWithItsLimits) {
  Protocols protocols({{.alpn = "tunnel/1", .limits = streams(4)},
                       {.alpn = "vault/1", .certificates = source("vault/1"), .needs_peer_key = true},
                       {.alpn = "h3", .certificates = source("h3"), .limits = streams(100)}});
  protocols.describe(config_);
  ASSERT_EQ(config_.policy_count, 4u);
  EXPECT_EQ(alpns_of(config_.policies[0]), std::vector<std::string>{"tunnel/1"});
  EXPECT_EQ(config_.policies[0].certificates.find, nullptr);
  EXPECT_TRUE(config_.policies[0].needs_peer_key);
  EXPECT_NE(config_.policies[1].certificates.find, nullptr);
  EXPECT_TRUE(config_.policies[1].needs_peer_key);
  EXPECT_FALSE(config_.policies[2].needs_peer_key);
  EXPECT_EQ(config_.policies[2].transport.max_streams_bidi, 100u);
  EXPECT_EQ(protocols.limits(0).max_streams_bidi, 4u);
}

TEST_F(ProtocolsTest, LargeClientHellosGetTheMostOpenProtocolsWithTheStrictestLimits) {
  Protocols protocols({{.alpn = "tunnel/1", .limits = streams(1)},
                       {.alpn = "h3", .certificates = source("h3"), .limits = streams(100)},
                       {.alpn = "vault/1", .certificates = source("vault/1"), .needs_peer_key = true},
                       {.alpn = "qad/0", .certificates = source("qad/0"), .limits = streams(3)}});
  protocols.describe(config_);
  ASSERT_EQ(config_.fallback_policy, 4u);
  const core::Policy& fallback = config_.policies[4];
  EXPECT_EQ(alpns_of(fallback), (std::vector<std::string>{"h3", "qad/0"}));
  EXPECT_FALSE(fallback.needs_peer_key);
  EXPECT_EQ(fallback.transport.max_streams_bidi, 3u);
  EXPECT_EQ(protocols.limits(4).max_streams_bidi, 3u);

  // The certificate is that of the protocol which TLS will agree on: ours comes first.
  const std::array offered = {slice("other"), slice("qad/0"), slice("h3")};
  auto find = [&](std::span<const core::Slice> alpns) {
    return fallback.certificates.find(fallback.certificates.context, slice("edge.example"), alpns.data(),
                                      alpns.size());
  };
  EXPECT_EQ(find(offered), nullptr);
  EXPECT_EQ(find(std::span(offered).first(2)), nullptr);
  EXPECT_EQ(find(std::span(offered).first(1)), nullptr);
  EXPECT_EQ(asked_, (std::vector<std::string>{"h3 edge.example", "qad/0 edge.example"}));
}

TEST_F(ProtocolsTest, RawKeysAloneAreAFallbackToo) {
  Protocols protocols({{.alpn = "a", .limits = streams(9)}, {.alpn = "b", .limits = streams(5)}});
  protocols.describe(config_);
  ASSERT_EQ(config_.fallback_policy, 2u);
  EXPECT_EQ(alpns_of(config_.policies[2]), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(config_.policies[2].needs_peer_key);
  EXPECT_EQ(protocols.limits(2).max_streams_bidi, 5u);
}

TEST_F(ProtocolsTest, AnEndpointThatOnlyDialsHasNone) {
  Protocols protocols({});
  protocols.describe(config_);
  EXPECT_TRUE(protocols.empty());
  EXPECT_EQ(config_.policy_count, 0u);
}

}  // namespace
}  // namespace culvert::quic
