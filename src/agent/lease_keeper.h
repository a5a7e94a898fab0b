#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "agent/agent.h"
#include "agent/counters.h"
#include "agent/hub_silence.h"
#include "base/key.h"
#include "base/random.h"
#include "hubapi/hub_client.h"
#include "net/lifetime.h"

namespace culvert::agent {

// Declares the agent's services to the hub and renews the lease that it grants. Lives on one loop; what the
// constructor takes outlives it.
class LeaseKeeper {
 public:
  LeaseKeeper(net::EventLoop& loop, const Config& config, const SecretKey& key, net::Lifetime& lifetime,
              AgentObserver& observer, Random& random, Counters& counters);
  LeaseKeeper(const LeaseKeeper&) = delete;

  // Called after each declaration that was granted.
  void set_listener(std::function<void()> listener) { on_granted_ = std::move(listener); }
  // Declares now and before the lease ends, or when a refusal may have passed, until the agent stops.
  net::Task<> run();
  // Asks for a declaration that begins after now, and waits for its success; false: the agent stops. The
  // answer to one that is on its way may tell the state before the loss that made the caller ask. While the
  // hub does not answer, a lease that it granted before is waited for no longer: edges go on with what they
  // know.
  net::Task<bool> renew();
  // Declares once more at some moment within `spread`.
  void renew_within(Duration spread);
  // Declares as soon as it can, without waiting for it: the services have changed.
  void declare_again();
  // Ends the waits of run() and renew(), once the lifetime says so.
  void stop();

  // The newest answer; nullopt before the first.
  const std::optional<hubapi::LeaseAnswer>& lease() const { return lease_; }
  // As the newest answer names it; nullptr: it does not.
  const hubapi::EdgeInfo* find_edge(const EndpointId& edge) const;
  // Its names are leased, and no client reaches them.
  bool is_suspended() const { return lease_ && lease_->is_suspended; }
  // A service that the answer does not mention is not refused.
  bool is_accepted(const Service& service) const;
  // Why the agent holds no lease, as far as it knows; nullopt: it holds one. A hub that does not answer ends
  // none: the edges keep it alive.
  std::optional<std::string> fault() const;

 private:
  hubapi::Declaration declaration() const;
  void adopt(hubapi::LeaseAnswer answer, uint64_t number);
  void report_refusals();
  void report_shared();
  void report_clock();
  void failed(const Error& error);
  void refused(const HubRefusal& refusal);

  net::EventLoop& loop_;
  const Config& config_;
  const SecretKey& key_;
  net::Lifetime& lifetime_;
  AgentObserver& observer_;
  Random& random_;
  Counters& counters_;
  hubapi::HubClient hub_;
  std::function<void()> on_granted_;

  std::optional<hubapi::LeaseAnswer> lease_;
  uint64_t begun_ = 0;          // declarations
  uint64_t granted_ = 0;        // the last one that was, by the same count
  bool is_unanswered_ = false;  // the last one was
  bool is_wanted_ = false;
  bool is_wanted_soon_ = false;
  net::Notify wanted_;
  net::Timer soon_;
  net::Notify changed_;
  HubSilence silence_;
  std::string last_refusal_;  // as reported
  // Why no declaration was granted since the last that was; a refusal is kept before a silence.
  std::optional<Error> failure_;
  bool is_refused_ = false;
  std::map<std::string, size_t> others_;  // agents by service, as reported
  bool clock_reported_ = false;
};

}  // namespace culvert::agent
