#include "hub/refused_services.h"

#include <gtest/gtest.h>

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;

class RefusedServicesTest : public testing::Test {
 protected:
  static EndpointId agent(uint8_t number) {
    Bytes seed(32, number);
    return SecretKey::from_seed(seed).value().public_key();
  }
  // Of hostnames; those that begin with "no" are refused. How many are new.
  size_t note(const EndpointId& id, std::vector<std::string> hostnames) {
    std::vector<hubapi::ServiceVerdict> verdicts;
    for (const auto& hostname : hostnames) {
      const bool is_refused = hostname.starts_with("no");
      verdicts.push_back({hostname, !is_refused, is_refused ? "not granted" : ""});
    }
    return refused_.note(InviteId{}, id, verdicts, {}, now_, wall_).size();
  }
  RefusedServices refused_;
  TimePoint now_{1h};
  UnixTime wall_{1'000'000s};
};

TEST_F(RefusedServicesTest, AreThereUntilTheAgentDeclaresOtherwise) {
  EXPECT_EQ(note(agent(1), {"no1.eu", "yes.eu", "no2.eu"}), 2u);
  EXPECT_EQ(refused_.count(), 2u);
  EXPECT_EQ(refused_.all().at(agent(1)).refused[0],
            (RefusedServices::Refused{.wanted = "no1.eu", .service = "", .reason = "not granted"}));
  now_ += 30s;
  wall_ += 30s;
  EXPECT_EQ(note(agent(1), {"no2.eu", "no3.eu"}), 1u) << "one is new";
  EXPECT_EQ(refused_.all().at(agent(1)).since, wall_ - 30s);
  EXPECT_EQ(note(agent(1), {"yes.eu"}), 0u);
  EXPECT_EQ(refused_.count(), 0u);
  EXPECT_TRUE(refused_.all().empty());
}

TEST_F(RefusedServicesTest, AreForgottenWithTheAgentThatDeclaresNoMore) {
  note(agent(1), {"no.eu"});
  now_ += 1min;
  note(agent(2), {"no.eu"});
  note(agent(1), {"no.eu"});
  now_ += RefusedServices::kKept - 1s;
  refused_.expire(now_);
  EXPECT_EQ(refused_.count(), 2u);
  now_ += 1s;
  refused_.expire(now_);
  EXPECT_EQ(refused_.count(), 0u);
}

TEST_F(RefusedServicesTest, AreBounded) {
  std::vector<std::string> many;
  for (int i = 0; i < 256; ++i) many.push_back(fmt::format("no{}.eu", i));
  EXPECT_EQ(note(agent(1), many), RefusedServices::kMaxPerAgent);
  EXPECT_EQ(refused_.count(), 256u) << "but counted";
  Bytes seed(32, 7);
  for (size_t i = 0; i < RefusedServices::kMaxAgents; ++i) {
    seed[0] = static_cast<uint8_t>(i);
    seed[1] = static_cast<uint8_t>(i >> 8);
    note(SecretKey::from_seed(seed).value().public_key(), {"no.eu"});
  }
  EXPECT_EQ(refused_.all().size(), RefusedServices::kMaxAgents);
  EXPECT_FALSE(refused_.all().contains(agent(1))) << "it declared longest ago";
}

TEST_F(RefusedServicesTest, PortsAreNamedAsClaimsAre) {
  const auto refuse = [&](route::PortProtocol protocol, uint16_t port) {
    const hubapi::PortVerdict verdict{
        .protocol = protocol, .name = "ssh", .listen_port = port, .accepted = false, .reason = "taken"};
    return refused_.note(InviteId{}, agent(1), {}, {verdict}, now_, wall_).at(0);
  };
  EXPECT_EQ(refuse(route::PortProtocol::kTcp, 2222),
            (RefusedServices::Refused{.wanted = "tcp/2222", .service = "ssh", .reason = "taken"}));
  EXPECT_EQ(refuse(route::PortProtocol::kUdp, 0).wanted, "udp");
}

}  // namespace
}  // namespace culvert::hub
