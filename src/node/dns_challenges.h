#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/host_port.h"
#include "base/metrics.h"
#include "base/settings.h"
#include "dns/authority.h"
#include "dns/server.h"
#include "dns/txt_publisher.h"
#include "net/event_loop.h"

namespace culvert::node {

// How a node proves names by TXT records, which wildcards need. One way at most.
struct DnsOptions {
  // A name server of the node's own, for `_acme-challenge.` of each of these domains.
  std::optional<SocketAddr> listen = std::nullopt;
  std::vector<dns::Name> domains = {};
  std::optional<dns::Name> name_server = std::nullopt;  // not set: the host of the node's first public URL
  // A program that puts them, or a server that takes dynamic updates.
  std::filesystem::path hook = {};
  std::optional<HostPort> update_server = std::nullopt;
  std::filesystem::path update_key = {};

  bool is_set() const { return listen || !domains.empty() || !hook.empty() || update_server; }
};

// Section [dns].
void describe(SettingsBuilder& settings, DnsOptions& options);

// Puts TXT values where CAs find them. Lives on the control loop.
class DnsChallenges {
 public:
  // nullptr: no way is configured. `own_name` is that of the node, empty if it has only an address. Errors
  // name the setting, the file or the address.
  static Result<std::unique_ptr<DnsChallenges>> open(net::EventLoop& loop, const DnsOptions& options,
                                                     const std::string& own_name);
  DnsChallenges(const DnsChallenges&) = delete;

  // Whether values can be put for this hostname.
  bool can_answer(const std::string& hostname) const;
  // Returns when the authoritative servers have the value at `name`, "_acme-challenge." and a hostname.
  net::Task<Result<>> put(std::string name, std::string value);
  // Does not wait.
  void remove(const std::string& name, std::string value);

  // What was put is taken away first, for as long as that takes a server that answers.
  net::Task<> close();
  std::optional<SocketAddr> local_addr() const {
    return server_ ? std::optional(server_->local_addr()) : std::nullopt;
  }
  void report(Metrics& metrics) const;

 private:
  explicit DnsChallenges(net::EventLoop& loop) : loop_(loop), tasks_(loop) {}

  Result<> open_server(const DnsOptions& options, const std::string& own_name);
  Result<> open_update(const DnsOptions& options);
  net::Task<> take_away(dns::Name name, std::string value);

  net::EventLoop& loop_;
  dns::Authority authority_;
  std::unique_ptr<dns::Server> server_;  // nullptr: another way
  std::unique_ptr<dns::TxtPublisher> publisher_;
  net::TaskGroup tasks_;
};

// Of one that is not there: for the reference.
void report_no_dns(Metrics& metrics);

}  // namespace culvert::node
