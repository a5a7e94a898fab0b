#include "node/assembly.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "base/ascii.h"
#include "base/check.h"
#include "base/host_port.h"
#include "base/text.h"
#include "base/version.h"
#include "hub/leases.h"
#include "hubapi/token.h"
#include "net/network_watch.h"
#include "node/edge_certificates.h"
#include "node/public_certificates.h"

namespace culvert::node {
namespace {

// Hub and edge mean the same by a silent agent, and a report may be lost to a busy loop.
static_assert(hub::Leases::kSilence == route::Picker::kSilence);
static_assert(3 * edge::kReportInterval < hub::Leases::kSilence);

constexpr size_t kMoreThanTheDoor = 64;

// Before a hand-over, for the answers to requests of the hub, and how often that is looked at.
constexpr Duration kAnswerTime = std::chrono::milliseconds(500);
constexpr Duration kDrainLook = std::chrono::milliseconds(5);

// How other hosts reach this one where no setting says it: the address it would send from to the internet. No
// packet is sent; the destinations are reserved for documentation (RFC 5737, RFC 3849).
std::string own_host(net::EventLoop& loop, const SocketAddr& listen) {
  if (!listen.is_unspecified()) return listen.ip_text();
  std::vector<const char*> destinations{"192.0.2.1:9"};
  if (!listen.is_v4()) destinations.push_back("[2001:db8::1]:9");
  for (const char* destination : destinations) {
    auto source = net::source_address_for(loop, *SocketAddr::parse(destination));
    if (source && !source->is_loopback()) return source->ip_text();
  }
  return "127.0.0.1";
}

Result<std::vector<hubapi::HubUrl>> public_urls(net::EventLoop& loop, const Assembly::Parts& parts,
                                                const SocketAddr& tcp) {
  std::vector<hubapi::HubUrl> urls;
  if (parts.public_urls.empty()) urls.push_back({own_host(loop, tcp), tcp.port()});
  for (const std::string& text : parts.public_urls) {
    auto url = hubapi::parse_hub_url(text);
    if (!url)
      return fail(ErrorCode::kInvalid, "public URL {}: {}", culvert::quoted(text), url.error().message);
    urls.push_back(std::move(*url));
  }
  return urls;
}

Result<std::vector<std::string>> edge_addresses(const Assembly::Parts& parts, const std::string& own_host,
                                                uint16_t udp_port) {
  if (parts.edge_addrs.empty()) return std::vector{HostPort{own_host, udp_port}.to_string()};
  for (const std::string& address : parts.edge_addrs) {
    auto parsed = parse_host_port(address);
    if (!parsed) return fail(ErrorCode::kInvalid, "edge address {}", parsed.error().message);
  }
  return parts.edge_addrs;
}

// What agents are to check the edge's certificates with; empty: the roots of their system.
Result<std::string> own_roots(const Assembly::Parts& parts, const tls::Certificates& certificates) {
  if (!parts.acme.is_on()) return parts.is_edge ? certificates.root_pem() : std::string();
  auto manager = acme::manager_options(parts.acme);
  if (!manager) return std::unexpected(manager.error());
  return (*manager)->issuer.cas.front().root_pem;
}

// What no tenant may claim, also where the node does not listen on all of it: HTTP and HTTPS of either
// version, and DNS.
void add_own_ports(std::set<route::PublicPort>& own, uint16_t tcp, uint16_t udp) {
  for (const uint16_t port : std::initializer_list<uint16_t>{53, 80, 443, tcp})
    own.insert({route::PortProtocol::kTcp, port});
  for (const uint16_t port : std::initializer_list<uint16_t>{53, 80, 443, udp})
    own.insert({route::PortProtocol::kUdp, port});
}

}  // namespace

Result<std::unique_ptr<Assembly>> Assembly::open(net::EventLoop& loop, Parts parts) {
  std::unique_ptr<Assembly> assembly(new Assembly(loop));
  auto bound = assembly->bind(std::move(parts));
  if (!bound) return std::unexpected(bound.error());
  return assembly;
}

// The workers call back into this.
Assembly::~Assembly() { edge_.reset(); }

Result<> Assembly::bind(Parts parts) {
  identities_ = std::make_shared<tls::Certificates>(
      std::move(parts.ca), [&platform = loop_.platform()] { return platform.unix_now(); });
  auto edge = edge::Edge::bind({.key = parts.key,
                                .options = parts.edge,
                                .hub_names = {},
                                .public_addr = {},
                                .version = kVersion,
                                .challenges = challenges_,
                                .takes_tunnels = parts.is_edge,
                                .generation = parts.generation,
                                .agents_grace = parts.agents_grace},
                               identities_, loop_.platform());
  if (!edge) return std::unexpected(edge.error());
  edge_ = std::move(*edge);
  acme_ = parts.acme;
  former_processes_ = parts.former_processes;
  certificate_files_ = parts.certificates;
  hub_certificate_files_ = parts.hub_certificates;
  auto manager = acme::manager_options(acme_);
  if (!manager) return std::unexpected(manager.error());
  if (!*manager && parts.dns.is_set()) {
    return fail(ErrorCode::kInvalid,
                "section [dns]: it proves names to a CA, and there is none; give --acme-directory");
  }
  if (*manager) {
    auto opened = open_dns(parts);
    if (!opened) return opened;
  }
  return parts.token ? bind_link(std::move(parts)) : bind_hub(std::move(parts));
}

Result<> Assembly::open_dns(const Parts& parts) {
  const std::string own_host =
      parts.public_urls.empty() ? std::string() : hubapi::parse_hub_url(parts.public_urls.front())->host;
  auto dns = DnsChallenges::open(loop_, parts.dns, parse_ip(own_host) ? std::string() : own_host);
  if (!dns) return std::unexpected(dns.error());
  dns_ = std::move(*dns);
  return {};
}

std::set<acme::ChallengeType> Assembly::challenges_answered() const {
  std::set<acme::ChallengeType> types{acme::ChallengeType::kTlsAlpn01};
  if (edge_->http_addr()) types.insert(acme::ChallengeType::kHttp01);
  return types;
}

void Assembly::replace_routes(const route::SnapshotPtr& routes) {
  const route::SnapshotPtr before = edge_->routes();
  edge_->replace_routes(routes);
  if (route_watch_) route_watch_(before->changes_to(*edge_->routes()));
  if (certificates_) certificates_->replace(*edge_->routes());
}

bool Assembly::apply_routes(const route::Delta& changes) {
  if (!edge_->apply_routes(changes)) return false;
  const route::Delta own = edge_->without_static(changes);
  if (route_watch_) route_watch_(own);
  if (certificates_) certificates_->follow(own);
  return true;
}

Result<> Assembly::bind_hub(Parts parts) {
  const PublicKey id = parts.key.public_key();
  auto pinned = tls::self_signed_identity(parts.key, id.tls_name(), loop_.unix_now());
  if (!pinned) return std::unexpected(pinned.error());
  pinned_ = std::move(*pinned);
  auto urls = node::public_urls(loop_, parts, edge_->tcp_addr());
  if (!urls) return std::unexpected(urls.error());
  auto addresses = edge_addresses(parts, urls->front().host, edge_->udp_addr().port());
  if (!addresses) return std::unexpected(addresses.error());
  for (const hubapi::HubUrl& url : *urls) {
    urls_.push_back(url.to_string());
    public_hosts_.insert(to_lower(url.host));
  }
  std::unordered_set<std::string> hub_names = public_hosts_;
  hub_names.insert(id.tls_name());
  edge_->set_names(std::move(hub_names), HostPort{urls->front().host, urls->front().port}.to_string());

  auto trusted_roots = own_roots(parts, *identities_);
  if (!trusted_roots) return std::unexpected(trusted_roots.error());
  hub_config_.emplace(hub::Config{.database = parts.database,
                                  .database_url = std::move(parts.database_url),
                                  .operator_key = std::move(parts.operator_key),
                                  .public_urls = urls_,
                                  .key = parts.key,
                                  .edges = {},
                                  .public_port = urls->front().port,
                                  .internal_ca_pem = std::move(*trusted_roots),
                                  .tenants = std::move(parts.tenants),
                                  .store = parts.store_options,
                                  .certificates = {.list =
                                                       [this](const std::string& after, size_t most) {
                                                         return hub_certificates_ != nullptr
                                                                    ? hub_certificates_->list(after, most)
                                                                    : std::vector<hub::CertificateStatus>();
                                                       },
                                                   .totals =
                                                       [this] {
                                                         return hub_certificates_ != nullptr
                                                                    ? hub_certificates_->shown_totals()
                                                                    : hub::CertificateTotals();
                                                       }},
                                  .has_public_ca = parts.acme.is_on(),
                                  .reload = parts.reload});
  if (parts.is_edge) hub_config_->edges.push_back({id, std::move(*addresses)});
  hub_config_->edge_warnings = [this] { return edge_warnings(); };
  if (parts.is_edge) hub_config_->live = [this] { return live_status(); };
  add_own_ports(hub_config_->tenants.ports.own, edge_->tcp_addr().port(), edge_->udp_addr().port());
  // A little more than the door takes: that much may come in one turn of the loop.
  to_hub_ = std::make_unique<HubQueue>(
      loop_, HubQueue::Limits{.connections = HubDoor::Limits{}.connections + kMoreThanTheDoor},
      [this](edge::PublicConnection connection) { admit_to_hub(std::move(connection)); });
  return open_hub(std::move(parts.store));
}

Result<> Assembly::open_hub(std::unique_ptr<hub::RecordStore> store) {
  auto manager = acme::manager_options(acme_);
  if (!manager) return std::unexpected(manager.error());
  auto hub = store ? hub::Hub::with_store(loop_, *hub_config_, std::move(store))
                   : hub::Hub::open(loop_, *hub_config_);
  if (!hub) return std::unexpected(hub.error());
  hub_ = std::move(*hub);
  const bool is_edge = !hub_config_->edges.empty();
  auto shared =
      std::make_unique<HubCertificates>(loop_,
                                        HubCertificates::Parts{.shared = hub_->certificates(),
                                                               .manager = std::move(*manager),
                                                               .former_directory = certificate_files_,
                                                               .own_challenges = challenges_answered(),
                                                               .is_edge = is_edge,
                                                               .challenges = challenges_,
                                                               .dns = dns_.get(),
                                                               .certificates = identities_},
                                        std::vector<std::string>(public_hosts_.begin(), public_hosts_.end()));
  hub_certificates_ = shared.get();
  certificates_ = std::move(shared);
  if (is_edge) {
    replace_routes(hub_->routes());
    hub_->set_declare_listener([this](Duration spread) { edge_->declare_again(spread); });
    hub_->set_route_listener([this](const route::Delta& delta) {
      if (!apply_routes(delta)) replace_routes(hub_->routes());
    });
  } else {
    // Its edges are elsewhere, and it orders for them.
    certificates_->replace(*hub_->routes());
    hub_->set_route_listener([this](const route::Delta& delta) { certificates_->follow(delta); });
  }
  door_ = std::make_unique<HubDoor>(loop_, *hub_, pinned_, identities_, public_hosts_, HubDoor::Limits{},
                                    loop_.random());
  return {};
}

void Assembly::admit_to_hub(edge::PublicConnection connection) {
  if (!pass_) return door_->admit(std::move(connection));
  connection.attach(loop_);
  pass_(std::move(connection));
}

Result<> Assembly::bind_link(Parts parts) {
  auto addresses = edge_addresses(parts, own_host(loop_, edge_->udp_addr()), edge_->udp_addr().port());
  if (!addresses) return std::unexpected(addresses.error());
  const std::string host = parse_host_port(addresses->front()).value().host;
  edge_->set_names({}, HostPort{host, edge_->tcp_addr().port()}.to_string());
  auto trusted_roots = own_roots(parts, *identities_);
  if (!trusted_roots) return std::unexpected(trusted_roots.error());
  link_parts_.emplace(
      HubLink::Parts{.token = *parts.token,
                     .announcement = {.addresses = std::move(*addresses),
                                      .internal_ca_pem = std::move(*trusted_roots),
                                      .version = kVersion},
                     .route_file = parts.route_file,
                     .replace_routes = [this](const route::SnapshotPtr& routes) { replace_routes(routes); },
                     .apply_routes =
                         [this](const route::Delta& delta) {
                           // The link has made it for the routes that the edge has from it.
                           CHECK(apply_routes(delta));
                         },
                     .hub_is_heard = [this](bool is_heard) { edge_->set_hub_is_heard(is_heard); },
                     .declare_again = [this](Duration spread) { edge_->declare_again(spread); },
                     .run = std::move(parts.run)});
  return open_link();
}

Result<> Assembly::open_link() {
  link_ = std::make_unique<HubLink>(loop_, *link_parts_);
  auto manager = acme::manager_options(acme_);
  if (!manager) return std::unexpected(manager.error());
  if (*manager) {
    auto opened = PublicCertificates::open(loop_, {.manager = std::move(**manager),
                                                   .directory = certificate_files_,
                                                   .edge_challenges = challenges_answered(),
                                                   .challenges = challenges_,
                                                   .dns = dns_.get(),
                                                   .certificates = identities_});
    if (!opened) return std::unexpected(opened.error());
    certificates_ = std::move(*opened);
    return {};
  }
  auto opened = EdgeCertificates::open(loop_, {.token = link_parts_->token,
                                               .run = link_->run(),
                                               .directory = hub_certificate_files_,
                                               .challenges_answered = challenges_answered(),
                                               .challenges = challenges_,
                                               .certificates = identities_});
  if (!opened) return std::unexpected(opened.error());
  certificates_ = std::move(*opened);
  return {};
}

void Assembly::start(std::function<void()> stopped) {
  edge::ControlPlane control = link_ ? control_of_link() : control_of_hub();
  control.stopped = [this, stopped = std::move(stopped)] { loop_.post(stopped); };
  // Before the workers accept: clients that wait already are for routes on the disk.
  if (link_) link_->start();
  edge_->start(std::move(control));
  certificates_->start();
}

edge::ControlPlane Assembly::control_of_hub() {
  return {
      .serve_hub =
          [this](edge::PublicConnection connection) {
            return to_hub_->push(std::move(connection), loop_.now());
          },
      .agent_left =
          [this](EndpointId agent) {
            loop_.post([this, agent] {
              if (hub_) hub_->agent_left(agent);
            });
          },
      .agents_heard =
          [this](std::vector<route::AgentHeard> agents) {
            loop_.post([this, heard = std::move(agents)] {
              if (hub_) hub_->agents_heard(heard);
            });
          },
      .tunnel_closed =
          [this](EndpointId agent) {
            loop_.post([this, agent] {
              if (hub_) hub_->tunnel_closed(agent);
            });
          },
      .stopped = nullptr,
  };
}

// The link outlives the workers.
edge::ControlPlane Assembly::control_of_link() {
  return {
      .serve_hub = nullptr,
      .agent_left = [this](EndpointId agent) { loop_.post([this, agent] { link_->agent_left(agent); }); },
      .agents_heard =
          [this](std::vector<route::AgentHeard> agents) {
            loop_.post([this, heard = std::move(agents)] { link_->agents_heard(heard); });
          },
      .tunnel_closed =
          [this](EndpointId agent) { loop_.post([this, agent] { link_->tunnel_closed(agent); }); },
      .stopped = nullptr,
  };
}

void Assembly::stop() {
  if (certificates_) certificates_->drain();
  if (link_ && !is_control_released_) link_->leave();
  edge_->stop();
}

void Assembly::close() {
  if (certificates_) certificates_->close();
  if (link_) return link_->close();
  to_hub_->close();
  if (door_) door_->close();
  hub_.reset();
}

net::Task<> Assembly::closed() {
  if (certificates_) co_await certificates_->closed();
  if (dns_) co_await dns_->close();
  if (link_) {
    co_await link_->join();
  } else if (door_) {
    co_await door_->join();
  }
}

net::Task<> Assembly::release_control() {
  is_control_released_ = true;
  if (link_) {
    certificates_->close();
    co_await certificates_->closed();
    certificates_.reset();
    link_->close();
    co_await link_->join();
    co_return;
  }
  to_hub_->hold();
  hub_->drain();
  const TimePoint deadline = loop_.now() + kAnswerTime;
  while (door_->size() > 0 && loop_.now() < deadline) co_await net::sleep_for(loop_, kDrainLook);
  certificates_->close();
  co_await certificates_->closed();
  hub_certificates_ = nullptr;
  certificates_.reset();
  door_->close();
  hub_.reset();
  co_await door_->join();
  door_.reset();
}

Result<> Assembly::take_control() {
  if (link_) {
    link_parts_->run = link_->run();
    auto opened = open_link();
    if (!opened) return opened;
    link_->start();
  } else {
    auto opened = open_hub(nullptr);
    if (!opened) return opened;
    to_hub_->release();
  }
  certificates_->start();
  is_control_released_ = false;
  return {};
}

void Assembly::pass_hub_connections(std::function<void(edge::PublicConnection)> pass) {
  pass_ = std::move(pass);
  if (to_hub_) to_hub_->release();
}

void Assembly::admit(edge::PublicConnection connection) {
  if (!to_hub_) return connection.socket->reset();
  connection.detach();
  (void)to_hub_->push(std::move(connection), loop_.now());
}

void Assembly::hand_over() { edge_->hand_over(); }

void Assembly::reconfigure(const edge::Options& wanted) {
  const route::SnapshotPtr before = edge_->routes();
  edge_->reconfigure(wanted);
  if (edge_->routes() != before && certificates_) certificates_->replace(*edge_->routes());
}

// Versions are of the other process; the changes follow each other all the same.
void Assembly::follow_routes(std::vector<route::Route> upserts, std::vector<route::RouteId> removals) {
  const uint64_t version = edge_->routes()->version();
  const auto applied = edge_->apply_routes({version, version + 1, std::move(upserts), std::move(removals)});
  CHECK(applied);
}

void Assembly::set_tenant_rules(hub::TenantRules rules) {
  if (!hub_config_) return;
  rules.ports.own = hub_config_->tenants.ports.own;
  hub_config_->tenants = rules;
  if (hub_) hub_->set_tenant_rules(std::move(rules));
}

net::Task<> Assembly::close_dns() {
  if (dns_) co_await dns_->close();
}

std::optional<std::string> Assembly::fault() const {
  if (is_control_released_) return "it has given up the hub's work to another process";
  return link_ ? link_->fault() : std::nullopt;
}

std::optional<EdgeStatus> Assembly::edge_status() const {
  if (!link_) return std::nullopt;
  EdgeStatus status = link_->status();
  status.version = kVersion;
  status.warnings = edge_warnings();
  const acme::Manager::Totals certificates = certificate_totals();
  status.certificates = certificates.valid + certificates.expired;
  if (certificates.least_left) status.first_expiry = loop_.unix_now() + *certificates.least_left;
  status.tunnels = edge_->counters().tunnels_active.load(std::memory_order_relaxed);
  status.live = live_status();
  status.connections = edge_->counters().connections_active.load(std::memory_order_relaxed);
  return status;
}

std::vector<std::string> Assembly::port_faults() const {
  std::vector<std::string> faults;
  for (const auto& [port, reason] : edge_->port_faults())
    faults.push_back(fmt::format("port {} of a service: {}", port.text(), reason));
  return faults;
}

std::vector<std::string> Assembly::edge_warnings() const {
  std::vector<std::string> warnings;
  for (const std::string& fault : port_faults())
    warnings.push_back(fmt::format("{}; the edge tries again until it can", fault));
  for (const auto& [origin, fault, connections] : edge_->origins()) {
    if (fault.empty()) continue;
    warnings.push_back(
        fmt::format("static route {}: the origin does not work, {}; see origin_unhealthy in the log",
                    origin->name.name, fault));
  }
  if (std::string fault = edge_->overload_fault(); !fault.empty()) warnings.push_back(std::move(fault));
  if (certificates_) std::ranges::move(certificates_->faults(), std::back_inserter(warnings));
  return warnings;
}

hub::LiveStatus Assembly::live_status() const {
  return {.traffic = edge_->traffic(), .tunnels = edge_->tunnels(), .former_processes = former_processes_()};
}

acme::Manager::Totals Assembly::certificate_totals() const {
  return certificates_ ? certificates_->totals() : acme::Manager::Totals();
}

net::Task<> Assembly::note_reload(ReloadReport report) {
  if (hub_) co_await hub_->note_reload(std::move(report));
}

void Assembly::report(Metrics& metrics) const {
  if (dns_) {
    dns_->report(metrics);
  } else {
    report_no_dns(metrics);
  }
  acme::report(certificate_totals(), metrics);
  hub::report(hub_status(), metrics);
  node::report(door_ ? door_->counters() : HubDoor::Counters{}, metrics);
  node::report(to_hub_ ? to_hub_->counters() : HubQueue::Counters{}, metrics);
  node::report(link_ ? link_->counters() : HubLink::Counters{}, metrics);
}

}  // namespace culvert::node
