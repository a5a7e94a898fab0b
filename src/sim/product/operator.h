#pragma once
#include <optional>
#include <string>

#include "hubapi/hub_client.h"

// Tests only: who runs the simulated node, at the hub's API.
namespace culvert::sim {

// Each call repeats until the hub has taken it.
class Operator {
 public:
  Operator(net::EventLoop& loop, const std::string& hub_url, const PublicKey& hub_key,
           std::string operator_key)
      : loop_(loop),
        client_(loop, {hubapi::parse_hub_url(hub_url).value()}, hub_key),
        operator_key_(std::move(operator_key)) {}
  Operator(const Operator&) = delete;

  net::Task<> invite(std::string hostname, std::optional<std::chrono::seconds> expires_in,
                     std::optional<hubapi::InviteToken>& token);
  net::Task<> make_edge(std::string name, std::optional<hubapi::EdgeToken>& token);
  net::Task<> revoke_edge(std::string name, bool& is_done);
  // `since`: when the hub said that it is revoked.
  net::Task<> revoke(hubapi::InviteToken token, std::optional<TimePoint>& since);

 private:
  net::Task<std::string> call(std::string method, std::string path, std::string body);

  net::EventLoop& loop_;
  hubapi::HubClient client_;
  std::string operator_key_;
};

}  // namespace culvert::sim
