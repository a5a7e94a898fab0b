// Transport parameters that break the rules of RFC 9000, 18.2, and connection ids that do not match (7.3).
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

class HostileParameters : public Hostile {
 protected:
  HostilePeer& connect_with(std::function<void(TransportParameters&)> edit) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = std::move(edit);
    return connect(std::move(config));
  }
};
INSTANTIATE_TEST_SUITE_P(As, HostileParameters, testing::Bool(), role_name);

struct ParameterCase {
  const char* name;
  std::function<void(TransportParameters&)> edit;
};

std::vector<ParameterCase> invalid_cases() {
  using P = TransportParameters;
  return {
      {"ack_delay_exponent 21", [](P& p) { p.set_integer(0x0a, 21); }},
      {"max_ack_delay 2^14", [](P& p) { p.set_integer(0x0b, 1 << 14); }},
      {"max_udp_payload_size 100", [](P& p) { p.set_integer(0x03, 100); }},
      {"max_udp_payload_size 1199", [](P& p) { p.set_integer(0x03, 1199); }},
      {"active_connection_id_limit 0", [](P& p) { p.set_integer(0x0e, 0); }},
      {"active_connection_id_limit 1", [](P& p) { p.set_integer(0x0e, 1); }},
      {"initial_max_streams_bidi 2^61", [](P& p) { p.set_integer(0x08, uint64_t{1} << 61); }},
      {"initial_max_streams_uni 2^61", [](P& p) { p.set_integer(0x09, uint64_t{1} << 61); }},
      {"an integer without bytes", [](P& p) { p.set(0x04, {}); }},
      {"an integer with a byte more", [](P& p) { p.set(0x04, {1, 1}); }},
      {"an integer cut short", [](P& p) { p.set(0x04, {0xc0, 1}); }},
      {"disable_active_migration with a value", [](P& p) { p.set(0x0c, {1}); }},
      {"no initial_source_connection_id", [](P& p) { p.remove(0x0f); }},
      {"another initial_source_connection_id", [](P& p) { p.set(0x0f, Bytes(8, 1)); }},
      {"an initial_source_connection_id of 21 bytes", [](P& p) { p.set(0x0f, Bytes(21, 1)); }},
  };
}

TEST_P(HostileParameters, InvalidValues) {
  for (const ParameterCase& c : invalid_cases()) {
    SCOPED_TRACE(c.name);
    expect_closed(connect_with(c.edit), {kTransportParameterError, kProtocolViolation});
    world.clear();
  }
  expect_recovery();
}

// RFC 9000, 7.4: an endpoint must not send a parameter twice; it should be treated as an error.
TEST_P(HostileParameters, Duplicates) {
  for (uint64_t id : {0x01u, 0x03u, 0x04u, 0x08u, 0x0eu, 0x0fu, 0x20u}) {
    SCOPED_TRACE(id);
    HostilePeer& peer = connect_with([id](TransportParameters& parameters) {
      parameters.set_integer(id, 5000);
      parameters.add(id, varint(6000));
    });
    expect_contained(peer);
    world.clear();
  }
  expect_recovery();
}

// Every id with values of many sizes: each is an error or without effect on the service.
TEST_P(HostileParameters, AnyIdWithAnyValue) {
  std::vector<uint64_t> ids = {0x3e, 0x2ab2, 0x7158, 0xff04de1b, (uint64_t{1} << 62) - 1};
  for (uint64_t id = 0; id < 0x22; ++id) ids.push_back(id);
  for (uint64_t id : ids) {
    for (const Bytes& value : {Bytes(), Bytes{0}, Bytes{7}, Bytes{63}, Bytes(2, 0x40), Bytes(8, 0xff),
                               Bytes(20, 0), Bytes(41, 1), Bytes(100, 0xff)}) {
      SCOPED_TRACE(testing::Message()
                   << "id 0x" << std::hex << id << ", " << std::dec << value.size() << " bytes");
      HostilePeer& peer = connect_with([&](TransportParameters& parameters) { parameters.set(id, value); });
      EXPECT_EQ(peer.malformed(), 0u);
      // With a window or a limit of nothing there is no service to be had.
      if (peer.closed()) expect_contained(peer);
    }
    world.clear();
  }
  expect_recovery();
}

TEST_P(HostileParameters, Malformed) {
  for (const Bytes& value :
       {Bytes{}, Bytes{1}, Bytes{1, 40}, Bytes{0xc0}, Bytes{0x40, 1, 0xff}, Bytes(300, 0xff)}) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_extensions = [&](uint8_t, tls::Extensions& extensions) {
      if (auto* found = tls::find(extensions, tls::kQuicTransportParameters)) found->data = value;
    };
    HostilePeer& peer = connect(std::move(config));
    expect_closed(peer, {kTransportParameterError});
  }
  expect_recovery();
}

TEST_P(HostileParameters, ThousandsOfUnknownOnes) {
  HostilePeer& peer = connect_with([](TransportParameters& parameters) {
    for (uint64_t i = 0; i < 1000; ++i) parameters.add(27 + 31 * i, {});
  });
  EXPECT_TRUE(world.is_usable(peer));
  expect_recovery();
}

// Only servers send these. From a server, the first and the last must match what the client knows.
TEST_P(HostileParameters, ConnectionIdsOfTheHandshake) {
  for (uint64_t id : {0x00u, 0x02u, 0x0du, 0x10u}) {
    SCOPED_TRACE(id);
    HostilePeer& peer =
        connect_with([&](TransportParameters& parameters) { parameters.set(id, Bytes(16, 1)); });
    if (peer_is_server() && id == 0x02) {
      EXPECT_TRUE(world.is_usable(peer));  // a stateless reset token
    } else {
      expect_closed(peer, {kTransportParameterError, kProtocolViolation});
    }
    world.clear();
  }
  if (peer_is_server()) {
    HostilePeer& peer = connect_with([](TransportParameters& parameters) { parameters.remove(0x00); });
    expect_closed(peer, {kTransportParameterError, kProtocolViolation});
  }
  expect_recovery();
}

// No credit at all: the victim can send nothing, and holds nothing for it beyond what its application wrote.
TEST_P(HostileParameters, NoCredit) {
  HostilePeer& peer = connect_with([](TransportParameters& parameters) {
    for (uint64_t id : {0x04u, 0x05u, 0x06u, 0x07u, 0x08u, 0x09u, 0x20u}) parameters.set_integer(id, 0);
  });
  ASSERT_TRUE(peer.confirmed());
  for (uint64_t i = 0; i < 100; ++i)
    peer.send(Level::kOneRtt, frames::stream(4 * i + (peer_is_server() ? 1 : 0), 0, Bytes(10), true));
  world.run();
  EXPECT_FALSE(peer.closed());
  EXPECT_TRUE(peer.received_frames<StreamFrame>().empty());
  expect_recovery();
}

}  // namespace
}  // namespace culvert::sim
