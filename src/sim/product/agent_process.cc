#include "sim/product/agent_process.h"

#include "base/check.h"

namespace culvert::sim {
namespace {

agent::Config agent_config(const hubapi::InviteToken& token, const std::string& hostname, route::TlsMode mode,
                           uint16_t origin_port) {
  agent::Config config{.token = token, .services = {}};
  config.services.push_back(
      {.face = hubapi::DeclaredService{route::HostPattern::parse(hostname).value(), mode},
       .origin = {HostPort{"127.0.0.1", origin_port}},
       .proxy_protocol = false});
  return config;
}

}  // namespace

AgentProcess::AgentProcess(std::shared_ptr<Machine> machine, const hubapi::InviteToken& token,
                           const std::string& hostname, route::TlsMode mode, const SecretKey& origin_key)
    : machine_(std::move(machine)),
      loop_(*machine_),
      origin_(loop_, mode, origin_key),
      agent_(loop_, agent_config(token, hostname, mode, origin_.port()), *this),
      tasks_(loop_) {
  tasks_.spawn(run());
}

AgentProcess::~AgentProcess() { CHECK(has_ended()); }

net::Task<> AgentProcess::run() {
  auto outcome = co_await agent_.run();
  CHECK(outcome);
  origin_.stop();
  ended_at_ = loop_.now();
}

void AgentProcess::stop() {
  if (!stopped_at_) stopped_at_ = loop_.now();
  loop_.post([this] { agent_.stop(); });
}

void AgentProcess::kill() {
  machine_->unplug();
  stop();
  stop();  // without waiting for connections
}

}  // namespace culvert::sim
