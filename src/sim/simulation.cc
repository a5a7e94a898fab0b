#include "sim/simulation.h"

#include <algorithm>

#include "sim/machine.h"

namespace culvert::sim {

bool Simulation::chance(double probability) {
  return probability > 0 && static_cast<double>(random_.below(1'000'000)) < probability * 1'000'000;
}

Duration Simulation::up_to(Duration most) {
  return Duration(static_cast<int64_t>(random_.below(static_cast<uint64_t>(most.count()) + 1)));
}

void Simulation::set_wire(const Machine& a, const Machine& b, const Wire& wire) {
  wires_[std::minmax(a.number(), b.number())] = wire;
}

void Simulation::restore_wire(uint64_t a, uint64_t b) {
  const auto found = wires_.find(std::minmax(a, b));
  if (found != wires_.end()) found->second.is_cut = false;
}

const Wire& Simulation::wire(const Machine& from, const Machine& to) const {
  static const Wire loopback{.delay = std::chrono::microseconds(20)};
  if (&from == &to) return loopback;
  const auto own = wires_.find(std::minmax(from.number(), to.number()));
  return own == wires_.end() ? default_wire_ : own->second;
}

Machine* Simulation::machine_at(const SocketAddr& address) const {
  const auto found = std::ranges::find_if(
      machines_, [&](const Machine* machine) { return machine->is_plugged() && machine->has(address); });
  return found == machines_.end() ? nullptr : *found;
}

bool Simulation::run_ready() {
  bool worked = false;
  // By index: a loop may begin meanwhile.
  for (size_t i = 0; i < loops_.size(); ++i) worked = loops_[i]->run_ready() || worked;
  return worked;
}

TimePoint Simulation::next_ready() const {
  TimePoint next = TimePoint::max();
  for (const net::EventLoop* loop : loops_) next = std::min(next, loop->next_deadline());
  return next;
}

}  // namespace culvert::sim
