#include "sim/simulation.h"

#include <algorithm>

#include "base/check.h"
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

void Simulation::mend_wire(uint64_t a, uint64_t b) {
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

void Simulation::at(TimePoint when, std::function<void()> action) {
  events_.push({std::max(when, now_), next_order_++, std::move(action)});
}

bool Simulation::step() {
  bool worked = false;
  while (!events_.empty() && events_.top().when <= now_) {
    auto action = std::move(const_cast<Event&>(events_.top()).action);
    events_.pop();
    action();
    worked = true;
  }
  // By index: a loop may begin meanwhile.
  for (size_t i = 0; i < loops_.size(); ++i) worked = loops_[i]->run_ready() || worked;
  return worked;
}

TimePoint Simulation::next_event() const {
  TimePoint next = events_.empty() ? TimePoint::max() : events_.top().when;
  for (const net::EventLoop* loop : loops_) next = std::min(next, loop->next_deadline());
  return next;
}

bool Simulation::run_until(const std::function<bool()>& condition, Duration limit) {
  const TimePoint end = now_ + limit;
  while (true) {
    // Something that is ready again and again at one moment is a bug, not slowness.
    for (int rounds = 0; step(); ++rounds) CHECK(rounds < 100'000);
    if (condition()) return true;
    const TimePoint next = next_event();
    if (next > end) {
      now_ = end;
      return false;
    }
    now_ = std::max(now_, next);
    note(static_cast<uint64_t>(now_.time_since_epoch().count()));
  }
}

void Simulation::run_for(Duration time) {
  run_until([] { return false; }, time);
}

}  // namespace culvert::sim
