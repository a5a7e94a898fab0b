#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "acme/options.h"
#include "base/key.h"
#include "base/metrics.h"
#include "base/reload.h"
#include "base/secret.h"
#include "edge/edge.h"
#include "hub/hub.h"
#include "hub/record_store.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "node/dns_challenges.h"
#include "node/hub_certificates.h"
#include "node/hub_door.h"
#include "node/hub_link.h"
#include "node/hub_queue.h"
#include "node/node_certificates.h"
#include "tls/tls.h"

namespace culvert::node {

// Hub and edge of one node, and the ways between them: routes go to the edge; what the edge hears of agents,
// and the connections for the hub's own names, go to the hub. Where the hub is another process, a link to it
// takes its place. Lives on the control loop; the edge's workers have loops of their own on the same
// platform.
class Assembly {
 public:
  struct Parts {
    SecretKey key;  // of the node, or of the token
    std::unique_ptr<tls::InternalCa> ca;
    std::vector<std::string> edge_addrs;  // as node::Config
    edge::Options edge;

    // Of a hub.
    SecretString operator_key = {};
    std::vector<std::string> public_urls = {};  // as node::Config
    std::filesystem::path database = {};
    SecretString database_url = {};                     // as hub::Config
    std::unique_ptr<hub::RecordStore> store = nullptr;  // in place of the database, if there is one
    hub::StoreOptions store_options = {};
    hub::TenantRules tenants = {};  // the edge's ports are added to the node's own
    bool is_edge = true;            // as well
    Reload reload = nullptr;        // as node::Config

    // Of an edge without a hub: its token, and where it keeps the hub's routes.
    std::optional<hubapi::EdgeToken> token = std::nullopt;
    std::filesystem::path route_file = {};

    // Certificates of a public CA. `certificates` is where an edge with a CA of its own keeps them, and where
    // a hub once did; `hub_certificates`, where an edge keeps those that its hub gives it.
    acme::Options acme = {};
    DnsOptions dns = {};
    std::filesystem::path certificates = {};
    std::filesystem::path hub_certificates = {};

    // After a hand-over, as edge::Config and HubLink::Parts.
    uint8_t generation = 0;
    Duration agents_grace = Duration::zero();
    std::string run = {};
    // Of the processes before this one, those that drain.
    std::function<std::vector<hub::FormerProcess>()> former_processes = [] {
      return std::vector<hub::FormerProcess>();
    };
  };

  // Binds everything. Errors name the address, file or setting.
  static Result<std::unique_ptr<Assembly>> open(net::EventLoop& loop, Parts parts);
  ~Assembly();
  Assembly(const Assembly&) = delete;

  // `stopped` is called on the loop when every worker of the edge has ended.
  void start(std::function<void()> stopped);
  // Drains the edge; a second call skips the drain.
  void stop();
  // After `stopped`: nothing goes to the hub any more, and it ends.
  void close();
  // The hub's connections have ended, soon after close().
  net::Task<> closed();

  // Gives up what one process alone may have: the hub with its database, the way to a hub elsewhere, the
  // orders of certificates. Requests that have come are answered first. The edge goes on; connections for the
  // hub wait.
  net::Task<> release_control();
  // Takes it back. Errors as open(); then it is as after release_control().
  Result<> take_control();
  // Another process has it: connections for the hub that come here all the same go there.
  void pass_hub_connections(std::function<void(edge::PublicConnection)> pass);
  // Such a connection from another process.
  void admit(edge::PublicConnection connection);
  // As edge::Edge::hand_over, after pass_hub_connections().
  void hand_over();
  // Gets each change of the routes from then on.
  void set_route_watch(std::function<void(const route::Delta&)> watch) { route_watch_ = std::move(watch); }
  // What the process that took over has changed: connections here that a route gives to their agent no longer
  // are cut.
  // Options of the edge that may change while it runs.
  void reconfigure(const edge::Options& wanted);
  void follow_routes(std::vector<route::Route> upserts, std::vector<route::RouteId> removals);
  // The name server of challenges ends: another process has its sockets.
  net::Task<> close_dns();
  // HubLink::run(); empty: there is a hub.
  std::string run() const { return link_ ? link_->run() : std::string(); }

  edge::Edge& edge() { return *edge_; }
  const edge::Edge& edge() const { return *edge_; }
  const std::vector<std::string>& public_urls() const { return urls_; }
  // As hub::Hub::set_tenant_rules; without a hub, nothing.
  void set_tenant_rules(hub::TenantRules rules);
  // Ports of routes that the edge cannot listen on, and why.
  std::vector<std::string> port_faults() const;
  hub::Status hub_status() const { return hub_ ? hub_->status() : hub::Status{}; }
  void report(Metrics& metrics) const;
  // Of an edge without a hub, but for what its workers know; nullopt: it has one.
  std::optional<EdgeStatus> edge_status() const;
  // As Hub::note_reload(), if there is a hub.
  net::Task<> note_reload(ReloadReport report);
  // Why it cannot serve; nullopt: it can.
  std::optional<std::string> fault() const;

 private:
  explicit Assembly(net::EventLoop& loop) : loop_(loop) {}
  Result<> bind(Parts parts);
  Result<> bind_hub(Parts parts);
  Result<> open_hub(std::unique_ptr<hub::RecordStore> store);
  Result<> bind_link(Parts parts);
  Result<> open_link();
  Result<> open_dns(const Parts& parts);
  // Of challenges, those that the public listeners answer.
  std::set<acme::ChallengeType> challenges_answered() const;
  acme::Manager::Totals certificate_totals() const;
  void admit_to_hub(edge::PublicConnection connection);
  // The edge has these from now on.
  void replace_routes(const route::SnapshotPtr& routes);
  // False: they are changes of others than it has.
  bool apply_routes(const route::Delta& changes);
  std::vector<std::string> edge_warnings() const;
  hub::LiveStatus live_status() const;
  edge::ControlPlane control_of_hub();
  edge::ControlPlane control_of_link();

  net::EventLoop& loop_;
  std::shared_ptr<tls::Certificates> identities_;
  const std::shared_ptr<acme::ChallengeTable> challenges_ = std::make_shared<acme::ChallengeTable>();
  std::vector<std::string> urls_;
  std::unordered_set<std::string> public_hosts_;
  // What the parts are made of, also again.
  std::optional<hub::Config> hub_config_;
  std::optional<HubLink::Parts> link_parts_;
  std::function<std::vector<hub::FormerProcess>()> former_processes_;
  acme::Options acme_;
  std::filesystem::path certificate_files_, hub_certificate_files_;
  tls::IdentityPtr pinned_;
  std::function<void(const route::Delta&)> route_watch_;
  std::function<void(edge::PublicConnection)> pass_;  // set: another process has the hub
  bool is_control_released_ = false;
  std::unique_ptr<hub::Hub> hub_;
  std::unique_ptr<HubDoor> door_;
  std::unique_ptr<HubQueue> to_hub_;
  std::unique_ptr<HubLink> link_;  // in place of these
  std::unique_ptr<edge::Edge> edge_;
  std::unique_ptr<DnsChallenges> dns_;
  HubCertificates* hub_certificates_ = nullptr;     // of a hub: certificates_
  std::unique_ptr<NodeCertificates> certificates_;  // nullptr: control is released
};

}  // namespace culvert::node
