// The protocols of one endpoint: their credentials and their limits.
#include <gtest/gtest.h>

#include <map>

#include "endpoint/endpoint_fixture.h"

namespace culvert::endpoint {
namespace {

using EndpointProtocols = EndpointTest;

TEST_F(EndpointProtocols, OneSocketServesKeysAndCertificates) {
  auto scenario = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> one = co_await t->dial_key(kAlpn);
    Result<ConnectionPtr> other = co_await t->dial_key(kOtherAlpn);
    Result<ConnectionPtr> named = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(one.has_value() && other.has_value() && named.has_value());
    if (!one || !other || !named) co_return;
    EXPECT_EQ((*one)->remote_id(), key(2).public_key());
    EXPECT_EQ((*named)->remote_id(), std::nullopt);
    // All at once, each after the others.
    for (int round = 0; round < 2; ++round) {
      for (ConnectionPtr connection : {*one, *other, *named}) {
        bool good = co_await t->echoes(connection, connection->alpn());
        EXPECT_TRUE(good) << connection->alpn();
      }
    }
    EXPECT_EQ(t->accepted_.size(), 3u);
    for (const ConnectionPtr& accepted : t->accepted_) {
      EXPECT_EQ(accepted->remote_id().has_value(), accepted->alpn() != "h3");
      EXPECT_EQ(accepted->path_stats().remote.port(), t->client_->local_addr().port());
    }
  };
  Certificate certificate;
  serve_paths(certificate);
  run(scenario(this, &certificate));
}

TEST_F(EndpointProtocols, CertificatesThatCannotBeUsedAreRefusedWithTheReason) {
  const tls::DerIdentity own = Certificate().identity();
  const tls::DerIdentity other = Certificate().identity();
  const Bytes junk(100, 0x30);
  Bytes cut = own.chain[0];
  cut.resize(cut.size() / 2);
  using Case = std::tuple<std::vector<Bytes>, Bytes, const char*>;
  for (const auto& [chain, key, reason] :
       {Case{{}, own.key, "no certificate"}, Case{{junk}, own.key, "certificate"},
        Case{{cut}, own.key, "certificate"}, Case{own.chain, junk, "key"}, Case{own.chain, {}, "key"},
        Case{own.chain, other.key, "key"}}) {
    Result<quic::X509Identity> identity = quic::X509Identity::from_der(chain, key);
    ASSERT_FALSE(identity.has_value()) << reason;
    EXPECT_EQ(identity.error().code, ErrorCode::kInvalid);
    EXPECT_NE(identity.error().message.find(reason), std::string::npos) << identity.error().message;
  }
  EXPECT_TRUE(quic::X509Identity::from_der(own.chain, own.key).has_value());
}

TEST_F(EndpointProtocols, CredentialsAreNotInterchangeable) {
  auto scenario = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> name = co_await t->dial_name(certificate->server("another.example"), "h3");
    EXPECT_EQ(name.error().code, ErrorCode::kUnauthorized) << name.error().message;
    Certificate other_root;
    Result<ConnectionPtr> root = co_await t->dial_name(other_root.server(), "h3");
    EXPECT_EQ(root.error().code, ErrorCode::kUnauthorized) << root.error().message;
    Result<ConnectionPtr> keyless = co_await t->dial_name(certificate->server(), kAlpn);
    EXPECT_EQ(keyless.error().code, ErrorCode::kUnauthorized) << keyless.error().message;
    Result<ConnectionPtr> keyed = co_await t->dial_key("h3");
    EXPECT_EQ(keyed.error().code, ErrorCode::kUnauthorized) << keyed.error().message;
    EXPECT_TRUE(t->accepted_.empty());
  };
  Certificate certificate;
  serve_paths(certificate);
  run(scenario(this, &certificate));
}

// Certificates by name, as they are now.
class ServerNames {
 public:
  void show(const std::string& name, const Certificate& certificate) {
    identities_.insert_or_assign(name, certificate.x509());
  }
  quic::CertificateSource source() {
    return [this](std::string_view name) -> std::optional<quic::X509Identity> {
      asked_.emplace_back(name);
      auto found = identities_.find(name);
      return found == identities_.end() ? std::nullopt : std::optional(found->second);
    };
  }
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  std::map<std::string, quic::X509Identity, std::less<>> identities_;
  std::vector<std::string> asked_;
};

TEST_F(EndpointProtocols, CertificatesAreChosenByNameAndMayChangeWhileItRuns) {
  auto scenario = [](EndpointTest* t, ServerNames* names) -> Task<> {
    Certificate one("one.example");
    Certificate two("two.example");
    names->show("one.example", one);
    names->show("two.example", two);
    std::vector<Result<ConnectionPtr>> kept;  // one that is closed at once may never be accepted
    for (const Certificate* each : {&one, &two}) {
      kept.push_back(co_await t->dial_name(each->server(), "h3"));
      EXPECT_TRUE(kept.back().has_value());
    }
    Result<ConnectionPtr> crossed = co_await t->dial_name(two.server("one.example"), "h3");
    EXPECT_EQ(crossed.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> unknown = co_await t->dial_name(one.server("three.example"), "h3");
    EXPECT_EQ(unknown.error().code, ErrorCode::kUnauthorized);

    Certificate renewed("one.example");
    names->show("one.example", renewed);
    Result<ConnectionPtr> old = co_await t->dial_name(one.server(), "h3");
    EXPECT_EQ(old.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> current = co_await t->dial_name(renewed.server(), "h3");
    EXPECT_TRUE(current.has_value());
    if (!current) co_return;
    bool good = co_await t->echoes(*current, "renewed");
    EXPECT_TRUE(good);
    EXPECT_EQ(t->accepted_.size(), 3u);
    const std::vector<std::string> expected = {"one.example",   "two.example", "one.example",
                                               "three.example", "one.example", "one.example"};
    EXPECT_EQ(names->asked(), expected);
  };
  ServerNames names;
  serve_protocols({{.alpn = kAlpn}, {.alpn = "h3", .certificates = names.source()}});
  run(scenario(this, &names));
}

TEST_F(EndpointProtocols, AProtocolWithCertificatesMayNeedAKeyAllTheSame) {
  auto scenario = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> keyless = co_await t->dial_name(certificate->server(), "vault/1");
    EXPECT_EQ(keyless.error().code, ErrorCode::kUnauthorized) << keyless.error().message;
    Result<ConnectionPtr> raw = co_await t->dial_key("vault/1");
    EXPECT_EQ(raw.error().code, ErrorCode::kUnauthorized) << raw.error().message;
    EXPECT_TRUE(t->accepted_.empty());

    quic::X509Server server = certificate->server();
    server.proves_key = true;
    Result<ConnectionPtr> keyed = co_await t->dial_name(server, "vault/1");
    EXPECT_TRUE(keyed.has_value());
    if (!keyed) co_return;
    bool good = co_await t->echoes(*keyed, "keyed");
    EXPECT_TRUE(good);
    EXPECT_EQ((*keyed)->remote_id(), std::nullopt);
    EXPECT_EQ(t->accepted_.back()->remote_id(), key(1).public_key());
    Result<ConnectionPtr> open = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(open.has_value());
    if (!open) co_return;
    good = co_await t->echoes(*open, "open");
    EXPECT_TRUE(good);
    EXPECT_EQ(t->accepted_.size(), 2u);
    EXPECT_EQ(t->accepted_.back()->remote_id(), std::nullopt);
  };
  Certificate certificate;
  serve_protocols({{.alpn = "vault/1", .certificates = certificate.source(), .needs_peer_key = true},
                   {.alpn = "h3", .certificates = certificate.source()}});
  run(scenario(this, &certificate));
}

TEST_F(EndpointProtocols, EachProtocolHasItsLimits) {
  auto scenario = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> narrow = co_await t->dial_key("narrow/1");
    Result<ConnectionPtr> wide = co_await t->dial_key("wide/1");
    Result<ConnectionPtr> h3 = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(narrow.has_value() && wide.has_value() && h3.has_value());
    if (!narrow || !wide || !h3) co_return;
    auto count = [](Connection& connection) {
      std::vector<StreamPtr> open;
      while (StreamPtr stream = connection.try_open_bidi()) open.push_back(stream);
      return open.size();
    };
    EXPECT_EQ(count(**narrow), 2u);
    EXPECT_EQ(count(**wide), 40u);
    EXPECT_EQ(count(**h3), 7u);
    EXPECT_EQ((*narrow)->max_datagram_size(), 0u);
    EXPECT_GT((*wide)->max_datagram_size(), 1000u);
  };
  Certificate certificate;
  auto limits = [](uint64_t streams, bool datagrams) {
    quic::Limits made;
    made.max_streams_bidi = streams;
    made.datagrams = datagrams;
    return made;
  };
  serve_protocols({{.alpn = "narrow/1", .limits = limits(2, false)},
                   {.alpn = "wide/1", .limits = limits(40, true)},
                   {.alpn = "h3", .certificates = certificate.source(), .limits = limits(7, true)}});
  run(scenario(this, &certificate));
}

TEST_F(EndpointProtocols, AFullQueueOfOneProtocolIsCountedAndLeavesTheOthersAlone) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    constexpr size_t kTooMany = 5;
    std::vector<ConnectionPtr> flood;
    for (size_t i = 0; i < Endpoint::kMaxAccepted + kTooMany; ++i) {
      Result<ConnectionPtr> connection = co_await t->dial_key("flood/1");
      EXPECT_TRUE(connection.has_value());
      if (connection) flood.push_back(*connection);
    }
    for (size_t i = 0; i < kTooMany; ++i) {
      CloseReason reason = co_await flood[Endpoint::kMaxAccepted + i]->closed();
      EXPECT_EQ(reason.kind, CloseReason::Kind::kApplication);
    }
    Result<ConnectionPtr> calm = co_await t->dial_key("calm/1");
    EXPECT_TRUE(calm.has_value());
    if (!calm) co_return;
    bool good = co_await t->echoes(*calm, "calm");
    EXPECT_TRUE(good);
    Metrics metrics;
    t->server_->report(metrics);
    const std::string text = metrics.to_text();
    EXPECT_NE(text.find("culvert_quic_accept_queue_full_total{alpn=\"flood/1\"} 5"), std::string::npos);
    EXPECT_NE(text.find("culvert_quic_accept_queue_full_total{alpn=\"calm/1\"} 0"), std::string::npos);
    // And those that waited are still there.
    for (size_t i = 0; i < Endpoint::kMaxAccepted; ++i) {
      Result<ConnectionPtr> accepted = co_await t->server_->accept("flood/1");
      EXPECT_TRUE(accepted.has_value() && (*accepted)->is_open());
    }
    Result<ConnectionPtr> unknown = co_await t->server_->accept("unknown/1");
    EXPECT_EQ(unknown.error().code, ErrorCode::kInvalid);
  };
  serve_protocols({{.alpn = "flood/1"}, {.alpn = "calm/1"}});
  served_ = {"calm/1"};
  run(scenario(this));
}

}  // namespace
}  // namespace culvert::endpoint
