#include "sim/product/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/leases.h"

namespace culvert::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const SocketAddr kNodeAddress = SocketAddr::v4({10, 0, 0, 1}, 443);
const SocketAddr kOutsideAddress = SocketAddr::v4({10, 0, 0, 2}, 0);

// docs/protocol.md, 5.2: no agent waits longer than 4 s between attempts. One that is told of the loss at
// once, or by the answer to its next PING, 2 s later, is back within 5 s; a handshake adds a few round trips.
constexpr Duration kBackAfterRestart = seconds(6);
// One that was cut off, or moved, may be in the middle of a declaration then, over a TCP connection that is
// gone: that takes up to 15 s (hubapi::HubClient), and then it is as above.
constexpr Duration kBackAfterSilence = seconds(15) + kBackAfterRestart;
// The agent asks its own public address until that answers, at most 4 s between attempts of at most 5 s.
constexpr Duration kProven = seconds(10);
// A hub looks at the wall clock this often at least, and an agent that is refused for good asks seldom.
constexpr Duration kExpiryIsSeen = hub::Leases::kMaxWallWait + seconds(2);
// For the last lease of an agent that was killed, and what its death left half open.
constexpr Duration kAllForgotten = hub::Leases::kLifetime + seconds(5);
// agent::Agent::run: 2 s, for connections that are open.
constexpr Duration kAgentEnds = milliseconds(2500);
// edge::Options::drain_timeout, and the last turns of what was reset then.
constexpr Duration kNodeEnds = seconds(13);

SecretKey new_key(Random& random) { return SecretKey::generate(random); }

double seconds_of(Duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

World::World(uint64_t seed)
    : simulation_(seed),
      outside_(new_machine(kOutsideAddress)),
      outside_loop_(*outside_),
      identity_{.key = new_key(simulation_.random()),
                .operator_key = SecretString("the operator's key of the simulated node"),
                .ca = tls::InternalCa::create("simulated", outside_->unix_now()),
                .address = kNodeAddress,
                .workers = static_cast<unsigned>(1 + simulation_.random().below(2)),
                .disk = std::make_shared<Disk>()},
      node_machine_(new_machine(kNodeAddress)),
      is_gentle_(simulation_.random().below(3) == 0),
      tasks_(outside_loop_) {
  Random& random = simulation_.random();
  const size_t tenants = 1 + random.below(3);
  for (size_t i = 0; i < tenants; ++i) {
    const bool expires = i > 0 && random.below(3) == 0;
    tenants_.push_back(
        {.hostname = fmt::format("service{}.localhost", i),
         .mode = random.below(2) == 0 ? route::TlsMode::kPassthrough : route::TlsMode::kTerminate,
         .origin_key = new_key(random),
         .expires_in = expires ? std::optional(seconds(3600)) : std::nullopt});
    for (size_t agents = 1 + random.below(2); agents > 0; --agents)
      agents_.push_back({.tenant = i, .machine = new_machine(free_address())});
  }
  operator_.emplace(outside_loop_, "https://10.0.0.1", identity_.key.public_key(),
                    identity_.operator_key.expose());
}

World::~World() = default;

std::shared_ptr<Machine> World::new_machine(const SocketAddr& address) {
  return machines_.emplace_back(std::make_shared<Machine>(simulation_, address));
}

SocketAddr World::free_address() { return SocketAddr::v4({10, 0, 1, next_host_++}, 0); }

void World::tell(std::string what) {
  ++actions_;
  log_debug("simulation", "at={:.3f} what={}", seconds_of(simulation_.now().time_since_epoch()),
            quoted(what));
}

std::optional<std::string> World::run() {
  for (const auto phase : {&World::begin, &World::disturb, &World::recover, &World::check_lost_rights,
                           &World::check_rest, &World::end}) {
    if (auto fault = (this->*phase)()) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> World::run_restart_during_an_outage() {
  is_gentle_ = false;
  if (auto fault = begin()) return fault;
  cut_for(*agents_.front().machine, *node_machine_, seconds(30));
  if (auto fault = run_for(seconds(9))) return fault;
  stop_node(true);  // the next one is on another machine, which is not cut off
  ++coming_back_;
  start_node_later(seconds(1));
  for (const auto phase : {&World::recover, &World::check_rest, &World::end}) {
    if (auto fault = (this->*phase)()) return fault;
  }
  return std::nullopt;
}

bool World::run_until(const std::function<bool()>& condition, Duration limit) {
  return simulation_.run_until(condition, limit);
}

World::Fault World::run_for(Duration time) {
  simulation_.run_for(time);
  return remove_ended();
}

// ---- Processes

void World::start_node() {
  node_machine_->set_clock(node_clock_ahead_);
  node_ = std::make_unique<NodeProcess>(node_machine_, identity_);
  tell("the node starts");
}

void World::start_agent(AgentSlot& slot) {
  const Tenant& tenant = tenants_[slot.tenant];
  slot.process = std::make_unique<AgentProcess>(slot.machine, *tenant.token, tenant.hostname, tenant.mode,
                                                tenant.origin_key);
  tell(fmt::format("an agent of {} starts", tenant.hostname));
}

// The one before may still end on the same machine.
void World::start_node_later(Duration pause) {
  simulation_.after(pause, [this] {
    const bool is_free = std::ranges::all_of(ending_nodes_, [this](const auto& node) {
      return node->has_ended() || &node->machine() != node_machine_.get();
    });
    if (!is_free) return start_node_later(milliseconds(100));
    --coming_back_;
    start_node();
  });
}

void World::start_agent_later(AgentSlot& slot, Duration pause) {
  simulation_.after(pause, [this, &slot] {
    --coming_back_;
    start_agent(slot);
  });
}

void World::stop_node(bool is_killed) {
  if (!node_) return;
  tell(is_killed ? "the node is killed" : "the node stops");
  if (is_killed) {
    node_->kill();
    node_machine_ = new_machine(kNodeAddress);
  } else {
    node_->stop();
  }
  ending_nodes_.push_back(std::move(node_));
}

void World::stop_agent(AgentSlot& slot, bool is_killed) {
  if (!slot.process) return;
  tell(fmt::format("an agent of {} {}", tenants_[slot.tenant].hostname, is_killed ? "is killed" : "stops"));
  if (is_killed) {
    const SocketAddr address = slot.machine->address();
    slot.process->kill();
    slot.machine = new_machine(address);
  } else {
    slot.process->stop();
  }
  ending_agents_.push_back(std::move(slot.process));
}

World::Fault World::remove_ended() {
  Fault fault;
  const auto is_over = [&fault](const auto& process, Duration limit, const char* what) {
    if (!process->has_ended()) return false;
    if (process->ending_time() > limit)
      fault = fmt::format("{} took {:.3f} s to end", what, seconds_of(process->ending_time()));
    return true;
  };
  std::erase_if(ending_nodes_, [&](const auto& node) { return is_over(node, kNodeEnds, "a node"); });
  std::erase_if(ending_agents_, [&](const auto& agent) { return is_over(agent, kAgentEnds, "an agent"); });
  std::erase_if(machines_, [](const std::shared_ptr<Machine>& machine) {
    return machine.use_count() == 1 && machine->open_sockets() == 0;
  });
  return fault ? fault : check_visits();
}

// ---- What happens

World::Fault World::begin() {
  simulation_.set_default_wire(random_wire());
  start_node();
  for (Tenant& tenant : tenants_)
    tasks_.spawn(operator_->invite(tenant.hostname, tenant.expires_in, tenant.token));
  const bool invited = run_until(
      [this] { return std::ranges::all_of(tenants_, [](const Tenant& t) { return t.token.has_value(); }); },
      minutes(1));
  if (!invited) return "the operator got no invites";
  for (Tenant& tenant : tenants_) {
    if (tenant.expires_in) tenant.expires_at = node_machine_->unix_now() + *tenant.expires_in;
  }
  for (AgentSlot& slot : agents_) start_agent(slot);
  if (!run_until([this] { return all_served(); }, kBackAfterRestart + kProven))
    return "at first: " + who_is_not();
  return echo_everywhere(1);
}

World::Fault World::disturb() {
  Random& random = simulation_.random();
  const TimePoint end = simulation_.now() + seconds(10) + simulation_.up_to(seconds(50));
  while (simulation_.now() < end) {
    for (uint64_t visits = random.below(3); visits > 0; --visits) {
      const size_t bytes = 1 + random.below(random.below(4) == 0 ? 300'000 : 3000);
      // Within the patience of check_rest(): a visit in more pieces takes longer than that and is well.
      constexpr size_t kMostPieces = 200;
      const size_t piece = std::max(1 + random.below(bytes), bytes / kMostPieces + 1);
      visit(any_tenant(), bytes, piece, simulation_.up_to(milliseconds(500)));
    }
    disturb_once();
    if (auto fault = run_for(simulation_.up_to(seconds(5)))) return fault;
  }
  return std::nullopt;
}

void World::disturb_once() {
  Random& random = simulation_.random();
  const bool is_killed = random.below(2) == 0;
  const Duration pause = simulation_.up_to(seconds(5));
  AgentSlot& slot = any_agent();
  switch (random.below(is_gentle_ ? 6 : 12)) {
    case 0:
    case 1:
    case 2:
      if (!slot.process) return;
      stop_agent(slot, is_killed);
      ++coming_back_;
      return start_agent_later(slot, pause);
    case 3:
    case 4:
      if (!node_) return;
      stop_node(is_killed);
      ++coming_back_;
      return start_node_later(pause);
    case 5:
      return revoke(tenants_[any_tenant()]);
    case 6:
      tell("an agent moves");
      return slot.machine->move_to(free_address());
    case 7:
      tell("an agent is cut off");
      return cut_for(*slot.machine, *node_machine_,
                     simulation_.up_to(seconds(random.below(2) == 0 ? 3 : 45)));
    case 8:
      tell("the visitors are cut off");
      return cut_for(*outside_, *node_machine_, simulation_.up_to(seconds(10)));
    case 9:
      tell("the network changes");
      return simulation_.set_wire(*slot.machine, *node_machine_, random_wire());
    case 10:
      tell("an agent's clock is set");
      return slot.machine->set_clock(random_clock());
    default:
      tell("the node's clock is set");
      return set_node_clock(random_clock());
  }
}

void World::revoke(Tenant& tenant) {
  if (tenant.is_revoking || &tenant == &tenants_.front()) return;
  tell("the invite of " + tenant.hostname + " is revoked");
  tenant.is_revoking = true;
  tasks_.spawn(operator_->revoke(*tenant.token, tenant.revoked));
}

void World::set_node_clock(std::chrono::seconds ahead) {
  node_clock_ahead_ = ahead;
  node_machine_->set_clock(ahead);
}

std::chrono::seconds World::random_clock() {
  return seconds(static_cast<int64_t>(simulation_.random().below(1200)) - 600);
}

void World::cut_for(const Machine& a, const Machine& b, Duration time) {
  Wire wire = simulation_.wire(a, b);
  wire.is_cut = true;
  simulation_.set_wire(a, b, wire);
  // By their numbers: a machine may be gone by then.
  simulation_.after(
      time, [this, first = a.number(), second = b.number()] { simulation_.restore_wire(first, second); });
}

Wire World::random_wire() {
  Random& random = simulation_.random();
  return {.delay = milliseconds(1) + simulation_.up_to(milliseconds(60)),
          .jitter = simulation_.up_to(milliseconds(5)),
          .loss = static_cast<double>(random.below(30)) / 1000,
          .duplicate = static_cast<double>(random.below(10)) / 1000};
}

// ---- Checks

World::Fault World::recover() {
  simulation_.reset_wires();
  simulation_.set_default_wire({});
  if (!run_until([this] { return coming_back_ == 0; }, seconds(30))) return "a process did not come back";
  const TimePoint since = simulation_.now();
  const Duration limit = is_gentle_ ? kBackAfterRestart : kBackAfterSilence;
  if (auto fault = reach_every_agent(limit)) return fault;
  if (!run_until([this] { return all_served(); }, kProven)) return "not proven: " + who_is_not();
  tell(fmt::format("all is well after {:.3f} s", seconds_of(simulation_.now() - since)));
  const auto no_revocation_waits = [this] {
    return std::ranges::none_of(tenants_, [](const Tenant& t) { return t.is_revoking && !t.revoked; });
  };
  if (!run_until(no_revocation_waits, seconds(20))) return "a revocation was never answered";
  if (auto fault = run_for(seconds(1))) return fault;
  return echo_everywhere(2);
}

// Visits until the origin of each agent has had one: the edge gives them to the agents in turns.
World::Fault World::reach_every_agent(Duration limit) {
  std::vector<size_t> before;
  for (const AgentSlot& slot : agents_) before.push_back(slot.process->echoes());
  const auto is_missed = [&](size_t i) {
    return has_rights(tenants_[agents_[i].tenant]) && agents_[i].process->echoes() == before[i];
  };
  const auto any_missed = [&] {
    for (size_t i = 0; i < agents_.size(); ++i) {
      if (is_missed(i)) return true;
    }
    return false;
  };
  for (const TimePoint end = simulation_.now() + limit; any_missed();) {
    if (simulation_.now() >= end) {
      std::string missed;
      for (size_t i = 0; i < agents_.size(); ++i) {
        if (is_missed(i))
          missed += fmt::format(", {} at {}", tenants_[agents_[i].tenant].hostname,
                                agents_[i].machine->address().ip_text());
      }
      return fmt::format("{:.0f} s after the end of all faults not every agent is served{}; {}",
                         seconds_of(limit), missed, who_is_not());
    }
    for (size_t i = 0; i < tenants_.size(); ++i) {
      if (has_rights(tenants_[i])) visit(i, 200, 200, {});
    }
    run_until([&] { return !any_missed(); }, milliseconds(250));
  }
  return std::nullopt;
}

World::Fault World::echo_everywhere(int times) {
  std::vector<const Visited*> begun;
  for (size_t i = 0; i < tenants_.size(); ++i) {
    for (int n = 0; n < times && has_rights(tenants_[i]); ++n) begun.push_back(&visit(i, 5000, 3000, {}));
  }
  const auto all_over = [&] {
    return std::ranges::all_of(begun, [](const Visited* visited) { return visited->result.is_over; });
  };
  if (!run_until(all_over, seconds(20))) return "a visit does not end";
  for (const Visited* visited : begun) {
    if (visited->result.end != VisitEnd::kEchoed)
      return fmt::format("a visit to {} failed: {}", tenants_[visited->tenant].hostname,
                         visited->result.reason);
  }
  return std::nullopt;
}

World::Fault World::check_lost_rights() {
  set_node_clock(std::chrono::hours(2));
  if (auto fault = run_for(kExpiryIsSeen)) return fault;
  std::vector<const Visited*> begun;
  for (size_t i = 0; i < tenants_.size(); ++i) {
    if (!has_rights(tenants_[i])) begun.push_back(&visit(i, 100, 100, {}));
  }
  if (auto fault = run_for(seconds(20))) return fault;
  for (const Visited* visited : begun) {
    const std::string& hostname = tenants_[visited->tenant].hostname;
    if (!visited->result.is_over || visited->result.end != VisitEnd::kRefused)
      return fmt::format("{} is served without a right to it", hostname);
    if (visited->result.reason.find("unrecognized name") == std::string::npos)
      return fmt::format("{} has no rights and is still known: {}", hostname, visited->result.reason);
  }
  const bool is_serving = std::ranges::any_of(
      visits_, [this](const Visited& v) { return !v.result.is_over && !has_rights(tenants_[v.tenant]); });
  if (is_serving) return "a connection outlived the right to it";
  if (auto fault = echo_everywhere(1)) return fault;
  return std::nullopt;
}

World::Fault World::check_rest() {
  const auto visits_are_over = [this] {
    return std::ranges::all_of(visits_, [](const Visited& visited) { return visited.result.is_over; });
  };
  if (!run_until(visits_are_over, minutes(5))) return "a visit does not end";
  std::vector<size_t> losses;
  for (const AgentSlot& slot : agents_) losses.push_back(slot.process ? slot.process->losses() : 0);
  if (auto fault = run_for(kAllForgotten)) return fault;
  for (size_t i = 0; i < agents_.size(); ++i) {
    if (agents_[i].process && agents_[i].process->losses() != losses[i])
      return tenants_[agents_[i].tenant].hostname + " was lost although nothing happened";
  }
  const size_t expected = serving_agents();
  if (node_->leases() != expected) return fmt::format("{} leases for {} agents", node_->leases(), expected);
  const edge::Counters& counters = node_->counters();
  if (counters.tunnels_active != expected)
    return fmt::format("{} tunnels for {} agents", counters.tunnels_active.load(), expected);
  if (counters.connections_active != 0)
    return fmt::format("{} places are taken by connections that have ended",
                       counters.connections_active.load());
  for (const AgentSlot& slot : agents_) {
    if (slot.process && slot.process->open_connections() != 0) return "an agent has open connections left";
  }
  return std::nullopt;
}

World::Fault World::end() {
  for (AgentSlot& slot : agents_) stop_agent(slot, false);
  if (simulation_.chance(0.5)) {  // otherwise the node stops together with its agents
    if (auto fault = run_for(kAgentEnds + seconds(1))) return fault;
    if (node_->leases() > 0 || node_->counters().tunnels_active > 0)
      return fmt::format("{} leases and {} tunnels outlive the goodbyes of their agents", node_->leases(),
                         node_->counters().tunnels_active.load());
  }
  stop_node(false);
  const auto all_ended = [this] {
    return std::ranges::all_of(ending_nodes_, [](const auto& node) { return node->has_ended(); }) &&
           std::ranges::all_of(ending_agents_, [](const auto& agent) { return agent->has_ended(); });
  };
  if (!run_until(all_ended, seconds(30))) return "a process does not end";
  if (auto fault = remove_ended()) return fault;
  if (!run_until([this] { return tasks_.size() == 0; }, seconds(30))) return "a task outside does not end";
  node_machine_.reset();
  for (AgentSlot& slot : agents_) slot.machine.reset();
  const auto sockets_are_closed = [this] {
    return std::ranges::all_of(machines_, [](const auto& machine) { return machine->open_sockets() == 0; });
  };
  if (!run_until(sockets_are_closed, minutes(3))) return "a socket is left";
  return std::nullopt;
}

// ---- Observations

Visited& World::visit(size_t tenant, size_t bytes, size_t piece, Duration pause) {
  const Tenant& to = tenants_[tenant];
  Visited& visited = visits_.emplace_back(Visited{.tenant = tenant});
  tasks_.spawn(sim::visit(outside_loop_,
                          {.host = to.hostname,
                           .mode = to.mode,
                           .edge = kNodeAddress,
                           .root_pem = identity_.ca.certificate,
                           .origin_key = to.origin_key.public_key(),
                           .bytes = bytes,
                           .piece = piece,
                           .pause = pause},
                          visited.result));
  return visited;
}

World::Fault World::check_visits() const {
  for (const Visited& visited : visits_) {
    const Tenant& tenant = tenants_[visited.tenant];
    if (visited.result.end == VisitEnd::kWrong) return "wrong bytes: " + visited.result.reason;
    if (tenant.revoked && visited.result.began > *tenant.revoked && visited.result.received > 0)
      return tenant.hostname + " was served after its revocation";
  }
  return std::nullopt;
}

bool World::has_rights(const Tenant& tenant) const {
  const bool expired = tenant.expires_at && *tenant.expires_at <= node_machine_->unix_now();
  return !expired && !tenant.is_revoking;
}

size_t World::serving_agents() const {
  return static_cast<size_t>(std::ranges::count_if(
      agents_, [this](const AgentSlot& slot) { return slot.process && has_rights(tenants_[slot.tenant]); }));
}

bool World::all_served() const {
  return std::ranges::all_of(agents_, [this](const AgentSlot& slot) {
    return !has_rights(tenants_[slot.tenant]) || (slot.process && slot.process->is_ready());
  });
}

std::string World::who_is_not() const {
  std::string out = fmt::format("{} tunnels for {} agents",
                                node_ ? node_->counters().tunnels_active.load() : 0, serving_agents());
  for (const AgentSlot& slot : agents_) {
    if (!has_rights(tenants_[slot.tenant])) continue;
    const char* state = !slot.process ? "down" : slot.process->is_ready() ? "ready" : "not ready";
    out += fmt::format(", {} at {} is {}", tenants_[slot.tenant].hostname, slot.machine->address().ip_text(),
                       state);
  }
  return out;
}

}  // namespace culvert::sim
