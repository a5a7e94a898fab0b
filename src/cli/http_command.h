#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/foreground.h"
#include "cli/token_source.h"
#include "cli/values.h"

namespace culvert::cli {

// The hostname to use when none was asked for: the first exact one that the invite grants, otherwise a
// made-up label under the first wildcard. kInvalid when nothing is granted.
Result<route::HostPattern> choose_hostname(const std::vector<std::string>& granted,
                                           std::string_view made_up_label);

// culvert http: one local web service at one public URL, with its requests on the terminal.
class HttpCommand final : public Command, private agent::AgentObserver {
 public:
  HttpCommand();

  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }
  const LogOptions* log_options() const override { return &log_; }
  void describe_metrics(Metrics& metrics) const override { describe_agent_metrics(metrics); }

  // After resolve().
  const HostPort& origin() const { return *origin_; }
  const std::optional<route::HostPattern>& hostname() const { return hostname_; }
  const hubapi::InviteToken& token() const { return *token_; }

 private:
  // Sets hostname_, unless a stop signal comes first.
  Result<> learn_hostname();
  void lease_granted(const hubapi::LeaseAnswer& lease) override { root_pem_ = lease.internal_ca_pem; }
  void ready(const std::vector<std::string>& urls) override;
  void lost() override;
  void refused(const agent::HubRefusal& refusal) override;
  void hub_unreachable(const Error& error, Duration elapsed) override;
  void hub_reached(Duration elapsed) override;
  void clock_differs(const std::string& message) override;
  void shared(const std::string& hostname, size_t others) override;
  bool service_silent(const agent::Silence& silence) override;
  void misdirected(const std::string& hostname, const std::string& elsewhere,
                   const std::string& public_host) override;
  bool wants_requests() const override { return true; }
  void request(const agent::RequestLine& line) override;
  void keep_for_next_time();

  Settings settings_;
  TokenSource token_source_;
  std::optional<HostPort> origin_;
  std::optional<route::HostPattern> hostname_;
  std::optional<hubapi::InviteToken> token_;
  std::filesystem::path config_dir_;
  ops::Options ops_;
  LogOptions log_ = {.level = LogLevel::kWarn};

  std::optional<net::EventLoop> loop_;  // since run()
  TimePoint started_;
  std::string root_pem_;
  bool was_ready_ = false;
  agent::Agent* running_ = nullptr;  // while it does
  std::optional<Error> refusal_;
};

}  // namespace culvert::cli
