#pragma once
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"
#include "sim/timeline.h"

// Tests only: event loops in simulated time, on machines with a simulated network between them.
namespace culvert::sim {

class Machine;

// What happens to what one machine sends to another.
struct Wire {
  Duration delay = std::chrono::milliseconds(5);
  Duration jitter{};  // up to this is added for each datagram: they overtake each other. TCP keeps its order
  double loss = 0;    // of a datagram; what TCP loses comes later
  double duplicate = 0;  // of a datagram
  bool is_cut = false;   // nothing arrives
};

// One world: its time, its machines, and their loops. A run follows from the seed. Outlives its machines.
class Simulation final : public Timeline {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {}

  Random& random() { return random_; }
  bool chance(double probability);
  Duration up_to(Duration most);

  // Both directions between two machines; the default for every pair that has none of its own.
  void set_wire(const Machine& a, const Machine& b, const Wire& wire);
  void set_default_wire(const Wire& wire) { default_wire_ = wire; }
  // The wire between two machines, by their numbers, is no longer cut.
  void restore_wire(uint64_t a, uint64_t b);
  // Every pair has the default again.
  void reset_wires() { wires_.clear(); }
  const Wire& wire(const Machine& from, const Machine& to) const;

  // For machines and their sockets.
  Machine* machine_at(const SocketAddr& address) const;  // nullptr: there is none
  // Two runs of one seed that differ have different digests.
  uint64_t digest() const { return digest_; }
  void note(uint64_t value) { digest_ = (digest_ ^ value) * 0x100000001b3; }  // FNV-1a, by words

 private:
  friend class Machine;

  bool run_ready() override;
  TimePoint next_ready() const override;
  void on_advanced() override { note(static_cast<uint64_t>(now().time_since_epoch().count())); }

  SeededRandom random_;
  Wire default_wire_;
  std::map<std::pair<uint64_t, uint64_t>, Wire> wires_;  // by the machines' numbers, the lower first
  std::vector<Machine*> machines_;
  std::vector<net::EventLoop*> loops_;
  uint64_t next_number_ = 0;
  uint64_t digest_ = 0xcbf29ce484222325;
};

}  // namespace culvert::sim
