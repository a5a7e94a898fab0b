#pragma once
#include <memory>
#include <optional>
#include <string>

#include "agent/agent.h"
#include "sim/machine.h"
#include "sim/product/origin.h"

// Tests only: an agent with its origin on a simulated machine.
namespace culvert::sim {

// One start of an agent, with one service: from its construction until has_ended(), after stop() or kill().
class AgentProcess final : private agent::AgentObserver {
 public:
  AgentProcess(std::shared_ptr<Machine> machine, const hubapi::InviteToken& token,
               const std::string& hostname, route::TlsMode mode, const SecretKey& origin_key);
  ~AgentProcess() override;
  AgentProcess(const AgentProcess&) = delete;

  Machine& machine() { return *machine_; }
  // As after a SIGTERM.
  void stop();
  // As after a SIGKILL, for all others: nothing of it is heard any more. What runs ends unheard.
  void kill();
  bool has_ended() const { return ended_at_ && tasks_.size() == 0 && origin_.has_ended(); }
  // How long its end took, from stop() or kill().
  Duration ending_time() const { return *ended_at_ - *stopped_at_; }
  bool is_stopping() const { return stopped_at_.has_value(); }

  // The agent says that it is connected and that its service answers.
  bool is_ready() const { return is_ready_; }
  // How often it lost its last edge.
  size_t losses() const { return losses_; }
  size_t echoes() const { return origin_.echoes(); }
  size_t open_connections() const { return agent_.open_connections(); }
  const std::string& last_refusal() const { return last_refusal_; }

 private:
  net::Task<> run();
  void ready(const std::vector<std::string>& /*urls*/) override { is_ready_ = true; }
  void lost() override {
    is_ready_ = false;
    ++losses_;
  }
  void refused(const agent::HubRefusal& refusal) override { last_refusal_ = refusal.error.message; }
  void hub_unreachable(const Error& /*error*/, Duration /*elapsed*/) override {}
  void hub_reached(Duration /*elapsed*/) override {}
  void clock_differs(const std::string& /*message*/) override {}
  void shared(const std::string& /*hostname*/, size_t /*others*/) override {}
  bool service_silent(const agent::Silence& /*silence*/) override { return true; }
  void misdirected(const std::string& /*hostname*/, const std::string& /*elsewhere*/,
                   const std::string& /*public_host*/) override {}

  std::shared_ptr<Machine> machine_;
  net::EventLoop loop_;
  Origin origin_;
  agent::Agent agent_;
  bool is_ready_ = false;
  size_t losses_ = 0;
  std::string last_refusal_;
  std::optional<TimePoint> stopped_at_;
  std::optional<TimePoint> ended_at_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::sim
