#pragma once
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/product/agent_process.h"
#include "sim/product/node_process.h"
#include "sim/product/operator.h"
#include "sim/product/visitor.h"

// Tests only: a whole installation of Culvert in simulated time, and what may happen to it.
namespace culvert::sim {

// One tenant with one hostname.
struct Tenant {
  std::string hostname;
  route::TlsMode mode;
  SecretKey origin_key;
  std::optional<std::chrono::seconds> expires_in;
  std::optional<hubapi::InviteToken> token = {};
  std::optional<UnixTime> expires_at = {};  // by the node's clock; a little later than the hub's own
  bool is_revoking = false;
  std::optional<TimePoint> revoked = {};  // the hub has said so
};

// An agent that its user wants to run, through all its starts.
struct AgentSlot {
  size_t tenant;
  std::shared_ptr<Machine> machine;
  std::unique_ptr<AgentProcess> process = nullptr;  // nullptr while it is down
};

// A visit and what it was to.
struct Visited {
  size_t tenant;
  VisitResult result = {};
};

class World {
 public:
  // A node, tenants and agents as the seed has it; nothing runs yet.
  explicit World(uint64_t seed);
  ~World();
  World(const World&) = delete;

  // Runs everything, disturbs it for a while, and lets it recover; then ends it. The first thing that was not
  // as it must be; nullopt: all was well.
  std::optional<std::string> run();
  // An agent is cut off for so long that its transport looks for another path, and the node is killed and
  // started meanwhile: nothing that the agent sends then is known there.
  std::optional<std::string> run_restart_during_an_outage();

  uint64_t digest() const { return simulation_.digest(); }
  size_t actions() const { return actions_; }

 private:
  using Fault = std::optional<std::string>;

  Fault begin();
  Fault disturb();
  Fault recover();
  Fault check_lost_rights();
  Fault check_rest();
  Fault end();

  void disturb_once();
  void stop_agent(AgentSlot& slot, bool is_killed);
  void stop_node(bool is_killed);
  void start_agent_later(AgentSlot& slot, Duration pause);
  void start_node_later(Duration pause);
  void start_agent(AgentSlot& slot);
  void start_node();
  void revoke(Tenant& tenant);
  void set_node_clock(std::chrono::seconds ahead);
  void cut_for(const Machine& a, const Machine& b, Duration time);
  Wire random_wire();
  std::shared_ptr<Machine> new_machine(const SocketAddr& address);
  SocketAddr free_address();
  std::chrono::seconds random_clock();
  AgentSlot& any_agent() { return agents_[simulation_.random().below(agents_.size())]; }
  size_t any_tenant() { return simulation_.random().below(tenants_.size()); }
  void tell(std::string what);

  Visited& visit(size_t tenant, size_t bytes, size_t piece, Duration pause);
  Fault reach_every_agent(Duration limit);
  Fault echo_everywhere(int times);
  Fault check_visits() const;
  bool has_rights(const Tenant& tenant) const;  // not revoked, not expired
  size_t serving_agents() const;                // that run and have rights
  bool all_served() const;
  std::string who_is_not() const;
  // Destroys what has ended.
  Fault remove_ended();
  bool run_until(const std::function<bool()>& condition, Duration limit);
  Fault run_for(Duration time);

  Simulation simulation_;
  std::list<std::shared_ptr<Machine>> machines_;
  std::shared_ptr<Machine> outside_;  // of visitors and of the operator
  net::EventLoop outside_loop_;
  NodeIdentity identity_;
  std::shared_ptr<Machine> node_machine_;
  std::unique_ptr<NodeProcess> node_;  // nullptr while it is down
  std::vector<Tenant> tenants_;
  std::vector<AgentSlot> agents_;
  std::list<std::unique_ptr<NodeProcess>> ending_nodes_;
  std::list<std::unique_ptr<AgentProcess>> ending_agents_;
  std::list<Visited> visits_;
  std::optional<Operator> operator_;
  bool is_gentle_ = false;  // nothing but restarts
  std::chrono::seconds node_clock_ahead_{};
  uint8_t next_host_ = 10;
  int coming_back_ = 0;  // starts that are due
  size_t actions_ = 0;
  net::TaskGroup tasks_;
};

}  // namespace culvert::sim
