// Any sequence of what a peer, the network and the victim's own application may do on a connection with every
// extension. The seed is the bug report.
#include "sim/hostile_fixture.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMaxVarint = (uint64_t{1} << 62) - 1;

// One connection; the hostile peer is its server or its client.
class RandomSteps {
 public:
  RandomSteps(uint64_t seed, bool is_server) : random_(seed), world_(seed, limits()), is_server_(is_server) {
    HostilePeer::Config config = HostileWorld::hooks();
    config.edit_parameters = [this](TransportParameters& parameters) {
      if (below(8) > 0) HostilePeer::add_extensions(parameters);
    };
    config.send_handshake_done = below(3) > 0;
    peer_ = &world_.add(is_server, std::move(config));
    for (int i = 0; i < 4; ++i) addresses_.push_back(i == 0 ? peer_->address() : world_.next_address());
    world_.run();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !over(); ++i) {
      if (below(4) == 0) {
        victims_step();
      } else {
        peers_step();
      }
      if (below(3) == 0) EXPECT_TRUE(world_.run());
      if (below(6) == 0) world_.run_for(std::chrono::milliseconds(below(10) == 0 ? below(8000) : below(400)));
    }
    world_.run_for(5s);
    EXPECT_EQ(peer_->malformed(), 0u);
    EXPECT_EQ(world_.core_faults(), 0u);
    EXPECT_TRUE(world_.serves_honest_client());
    world_.clear();
    EXPECT_EQ(world_.victim().connection_count(), 0u);
    EXPECT_EQ(world_.core_faults(), 0u);
  }

 private:
  static quic::Limits limits() {
    quic::Limits limits;
    limits.send_observed_addresses = limits.receive_observed_addresses = true;
    return limits;
  }

  uint64_t below(uint64_t count) {
    std::array<uint8_t, 4> bytes;
    random_.fill(bytes);
    return (uint64_t{bytes[0]} << 24 | uint64_t{bytes[1]} << 16 | uint64_t{bytes[2]} << 8 | bytes[3]) % count;
  }
  bool over() const { return world_.connections().empty() || peer_->closed(); }
  quic::Connection& connection() { return world_.connections().front()->connection(); }
  const SocketAddr& address() { return addresses_[below(addresses_.size())]; }
  SocketAddr candidate() {
    return below(2) == 0 ? address() : SocketAddr::v4({198, 51, 100, static_cast<uint8_t>(below(20))}, 53);
  }
  uint32_t path() { return static_cast<uint32_t>(below(10) == 0 ? below(40) : below(4)); }
  uint64_t number() {
    return below(20) == 0 ? kMaxVarint - below(3) : below(5) == 0 ? below(1000) : below(12);
  }
  uint64_t stream() { return 4 * below(30) + below(4); }

  Bytes frame() {
    const Bytes id(1 + below(20), static_cast<uint8_t>(below(256)));
    const Bytes token(16, static_cast<uint8_t>(below(4)));
    // Most of the time, frames that do not end the connection.
    switch (below(25) == 0 ? 18 + below(12) : below(18)) {
      case 0:
        return below(3) == 0 ? frames::path_abandon(path()) : frames::ping();
      case 1:
        return frames::path_status(path(), number(), below(2) == 0);
      case 2:
        return frames::path_retire_connection_id(path(), below(2));
      case 3:
        return frames::max_path_id(number());
      case 4:
        return frames::paths_blocked(below(7));
      case 5:
        return frames::path_cids_blocked(below(7), 0);
      case 6:
        return is_server_ ? frames::add_address(below(40), candidate())
                          : frames::reach_out(number(), candidate());
      case 7:
        return is_server_ ? frames::remove_address(below(40)) : frames::ping();
      case 8:
        return frames::observed_address(number(), candidate());
      case 9:
        return frames::ack_frequency(number(), number(), 1000 + number(), number());
      case 10:
        return frames::immediate_ack();
      case 11:
        return frames::retire_connection_id(below(2));
      case 12:
        return is_server_ ? frames::handshake_done() : frames::ping();
      case 13:
        return frames::path_response(number());
      case 14:
        return frames::datagram(Bytes(below(200)));
      case 15:
      case 16:
        return frames::path_challenge(number());
      case 17:
        return frames::stream(4 * below(200) + (is_server_ ? 1 : 0), below(100), Bytes(below(300)));
      case 18:
        return frames::path_new_connection_id(path(), number(), below(3), id, token);
      case 19:
        return frames::new_connection_id(number(), below(3), id, token);
      case 20:
        return frames::reset_stream(stream(), number(), below(20));
      case 21:
        return frames::stop_sending(stream(), number());
      case 22:
        return frames::max_stream_data(stream(), number());
      case 23:
        return frames::ack({{below(20), 20 + below(10)}});
      case 24:
        return frames::path_ack(path(), {{0, below(5)}});
      case 25:
        return frames::new_token(Bytes(1 + below(1000)));
      case 26:
        return frames::crypto(below(200), Bytes(below(20), 4));
      case 27:
        return frames::path_retire_connection_id(path(), number());
      case 28:
        return frames::raw(below(0x40), Bytes(below(20), 1));
      default:
        return frames::stream(stream(), below(100), Bytes(below(300)), true);
    }
  }

  void peers_step() {
    Bytes frames = below(2) == 0 ? frames::ping() : frame();
    // A frame that ends the connection would hide what comes after it: most are sent alone.
    if (below(5) == 0) frames = concat({frames, frame()});
    const uint32_t on = below(2) == 0 ? 0 : path();
    switch (below(16)) {
      case 0:
        peer_->set_source(address());
        break;
      case 1:
        peer_->send(Level::kOneRtt, peer_->issue_path_id(path(), below(3)));
        break;
      case 2:
        peer_->set_acknowledging(below(3) > 0);
        break;
      case 3:
        peer_->set_answering_path_challenges(below(3) > 0);
        break;
      case 4:
        peer_->acknowledge();
        break;
      case 5:
        if (below(4) == 0) peer_->update_keys();
        break;
      case 6:
        peer_->skip_numbers(on, below(3) == 0 ? below(100'000) : below(5));
        break;
      case 7:
        unprotected_packet();
        break;
      case 8:
        peer_->send(below(2) == 0 ? Level::kHandshake : Level::kInitial, frames::ping());
        break;
      default:
        if (on == 0) {
          peer_->send(Level::kOneRtt, frames);
        } else {
          peer_->send_on_path(on, address(), frames);
        }
    }
  }

  void unprotected_packet() {
    const Bytes id = peer_->path_destination(path()).value_or(peer_->destination_id());
    const uint8_t size = static_cast<uint8_t>(id.size());
    const uint8_t version = static_cast<uint8_t>(below(2));
    const uint8_t first = static_cast<uint8_t>(0xc0 | below(4) << 4);
    world_.inject(address(),
                  concat({Bytes{first, 0, 0, 0, version, size}, id, Bytes{0}, Bytes(below(80), 0x21)}),
                  static_cast<uint8_t>(below(4)));
  }

  void victims_step() {
    const TimePoint now = world_.now();
    switch (below(10)) {
      case 0:
        (void)connection().paths().open(candidate(), below(2) == 0, now);
        break;
      case 1:
        connection().paths().close(path(), now);
        break;
      case 2:
        connection().paths().set_backup(path(), below(2) == 0);
        break;
      case 3:
        if (below(4) == 0) world_.victim().network_changed(now);
        break;
      case 4:
        connection().paths().add_candidate(candidate());
        break;
      case 5:
        (void)connection().paths().punch(now);
        break;
      case 6:
        connection().paths().ping(path());
        break;
      case 7:
        connection().paths().set_timers(path(), std::chrono::milliseconds(below(5000)),
                                        std::chrono::milliseconds(below(2000)), now);
        break;
      case 8:
        (void)connection().datagrams().send(Bytes(below(1300)));
        break;
      default:
        if (auto opened = connection().open_bidi()) opened->write(Bytes(below(5000)));
    }
  }

  SeededRandom random_;
  HostileWorld world_;
  bool is_server_;
  HostilePeer* peer_;
  std::vector<SocketAddr> addresses_;
};

class HostileRandom : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(As, HostileRandom, testing::Bool(), role_name);

TEST_P(HostileRandom, Steps) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomSteps(seed, GetParam()).run(300);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace culvert::sim
