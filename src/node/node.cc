#include "node/node.h"

#include <algorithm>
#include <atomic>

#include "base/ascii.h"
#include "base/host_port.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/version.h"
#include "edge/edge.h"
#include "hub/hub.h"
#include "hub/leases.h"
#include "hubapi/token.h"
#include "net/network_watch.h"
#include "node/data_dir.h"
#include "node/hub_door.h"
#include "node/hub_queue.h"
#include "node/observer.h"
#include "ops/process.h"
#include "quic/counters.h"

namespace culvert::node {
namespace {

// Hub and edge mean the same by a silent agent, and a report may be lost to a busy loop.
static_assert(hub::Leases::kSilence == route::Picker::kSilence);
static_assert(3 * edge::kReportInterval < hub::Leases::kSilence);

// After everything was told to end: for the hub's connections to notice.
constexpr Duration kLastWait = std::chrono::seconds(1);
constexpr size_t kMoreThanTheDoor = 64;

// How other hosts reach this one where no setting says it: the address it would send from to the internet. No
// packet is sent; the destinations are reserved for documentation (RFC 5737, RFC 3849).
std::string own_host(const SocketAddr& listen) {
  if (!listen.is_unspecified()) return listen.ip_text();
  std::vector<const char*> destinations{"192.0.2.1:9"};
  if (!listen.is_v4()) destinations.push_back("[2001:db8::1]:9");
  for (const char* destination : destinations) {
    auto source = net::source_address_for(*SocketAddr::parse(destination));
    if (source && !source->is_loopback()) return source->ip_text();
  }
  return "127.0.0.1";
}

Result<std::vector<hubapi::HubUrl>> public_urls(const Config& config, const SocketAddr& tcp) {
  std::vector<hubapi::HubUrl> urls;
  if (config.public_urls.empty()) urls.push_back({own_host(tcp), tcp.port()});
  for (const std::string& text : config.public_urls) {
    auto url = hubapi::parse_hub_url(text);
    if (!url)
      return fail(ErrorCode::kInvalid, "public URL {}: {}", culvert::quoted(text), url.error().message);
    urls.push_back(std::move(*url));
  }
  return urls;
}

Result<std::vector<std::string>> edge_addresses(const Config& config, const hubapi::HubUrl& first,
                                                uint16_t udp_port) {
  if (config.edge_addrs.empty()) return std::vector{HostPort{first.host, udp_port}.to_string()};
  for (const std::string& address : config.edge_addrs) {
    auto parsed = parse_host_port(address);
    if (!parsed) return fail(ErrorCode::kInvalid, "edge address {}", parsed.error().message);
  }
  return config.edge_addrs;
}

Result<> check(const Config& config) {
  if (config.data_dir.empty())
    return fail(ErrorCode::kInvalid, "no data directory given; name one with --data-dir");
  if (config.edge.workers < 1 || config.edge.workers > 256) {
    return fail(ErrorCode::kInvalid, "{} workers: 1 to 256 are possible", config.edge.workers);
  }
  if (config.edge.max_connections < 1)
    return fail(ErrorCode::kInvalid, "at least one public connection must be allowed");
  return {};
}

// For commands beside the node: its own listener first, since a public name may not lead back here, for want
// of a DNS record or behind a NAT.
std::vector<std::string> urls_on_this_host(const SocketAddr& listener, const std::vector<std::string>& urls) {
  // A listener on [::] takes IPv4 as well, and ::1 may be missing where IPv6 is turned off.
  std::string host = !listener.is_unspecified() ? listener.ip_text() : "127.0.0.1";
  std::vector<std::string> out{hubapi::HubUrl{std::move(host), listener.port()}.to_string()};
  for (const std::string& url : urls) {
    if (url != out.front()) out.push_back(url);
  }
  return out;
}

class RunningNode final : public Node {
 public:
  RunningNode(PublicKey id, FileLock lock)
      : lock_(std::move(lock)), id_(id), last_wait_(loop_), closing_(loop_) {}
  ~RunningNode() override {
    // The workers call back into this.
    edge_.reset();
  }

  Result<> open(Config config, const SecretKey& key, const DataDir& files);
  void run() override;
  void stop() override;

  const PublicKey& id() const override { return id_; }
  SocketAddr tcp_addr() const override { return edge_->tcp_addr(); }
  SocketAddr udp_addr() const override { return edge_->udp_addr(); }
  std::optional<SocketAddr> metrics_addr() const override {
    return ops_ ? std::optional(ops_->local_addr()) : std::nullopt;
  }
  const std::vector<std::string>& public_urls() const override { return urls_; }

 private:
  Result<> serve_metrics(const SocketAddr& address);
  void report(Metrics& metrics) const;
  net::Task<ops::Faults> readiness();
  net::Task<> finish();

  FileLock lock_;  // released last
  PublicKey id_;
  bool is_stopping_ = false;  // on loop_
  std::vector<std::string> urls_;
  // Coroutines that a forced end left behind die with the loop; all they may touch then is theirs or shared.
  SystemRandom random_;
  net::EventLoop loop_;
  const UnixTime started_ = loop_.unix_now();
  net::Timer last_wait_;
  net::TaskGroup closing_;
  std::unique_ptr<hub::Hub> hub_;
  std::unique_ptr<HubDoor> door_;
  std::unique_ptr<HubQueue> to_hub_;
  std::unique_ptr<edge::Edge> edge_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<ops::Server> ops_;
};

Result<> RunningNode::open(Config config, const SecretKey& key, const DataDir& files) {
  auto operator_key = files.load_or_create_operator_key(random_);
  if (!operator_key) return std::unexpected(operator_key.error());
  auto ca = files.load_or_create_ca(loop_.unix_now());
  if (!ca) return std::unexpected(ca.error());
  auto pinned = tls::self_signed_identity(key, id_.tls_name(), loop_.unix_now());
  if (!pinned) return std::unexpected(pinned.error());
  auto certificates =
      std::make_shared<tls::Certificates>(std::move(*ca), [this] { return loop_.unix_now(); });

  auto edge = edge::Edge::bind(
      {.key = key, .options = config.edge, .hub_names = {}, .public_addr = {}, .version = kVersion},
      certificates);
  if (!edge) return std::unexpected(edge.error());
  edge_ = std::move(*edge);

  auto urls = node::public_urls(config, edge_->tcp_addr());
  if (!urls) return std::unexpected(urls.error());
  auto edges = edge_addresses(config, urls->front(), edge_->udp_addr().port());
  if (!edges) return std::unexpected(edges.error());
  std::unordered_set<std::string> public_hosts;
  for (const hubapi::HubUrl& url : *urls) {
    urls_.push_back(url.to_string());
    public_hosts.insert(to_lower(url.host));
  }
  std::unordered_set<std::string> hub_names = public_hosts;
  hub_names.insert(id_.tls_name());
  edge_->set_names(std::move(hub_names), HostPort{urls->front().host, urls->front().port}.to_string());

  auto hub = hub::Hub::open(loop_, {.database = files.database(),
                                    .operator_key = *operator_key,
                                    .public_urls = urls_,
                                    .hub_key = id_,
                                    .edges = {{id_, *edges}},
                                    .public_port = urls->front().port,
                                    .internal_ca_pem = certificates->root_pem()});
  if (!hub) return std::unexpected(hub.error());
  hub_ = std::move(*hub);
  edge_->replace_routes(hub_->routes());
  hub_->set_route_listener([this](const route::Delta& delta) {
    if (!edge_->apply_routes(delta)) edge_->replace_routes(hub_->routes());
  });
  door_ = std::make_unique<HubDoor>(loop_, *hub_, *pinned, std::move(certificates), std::move(public_hosts),
                                    HubDoor::Limits{}, random_);
  // A little more than the door takes: that much may come in one turn of the loop.
  to_hub_ = std::make_unique<HubQueue>(
      loop_, HubQueue::Limits{.connections = HubDoor::Limits{}.connections + kMoreThanTheDoor},
      [this](edge::PublicConnection connection) { door_->admit(std::move(connection)); });

  if (config.ops.listen) {
    auto served = serve_metrics(*config.ops.listen);
    if (!served) return served;
  }

  auto written = files.write_info({urls_on_this_host(edge_->tcp_addr(), urls_), id_});
  if (!written) {
    // A full disk must not keep the routes down.
    log_error("node_info_not_written", "reason={} meaning={}", culvert::quoted(written.error().message),
              culvert::quoted("the node serves; commands on this host may not find it"));
  }
  log_info("node_started", "id={} tcp={} udp={} url={} workers={} version={}", id_.to_string(),
           edge_->tcp_addr().to_string(), edge_->udp_addr().to_string(), urls_.front(), config.edge.workers,
           kVersion);
  return {};
}

Result<> RunningNode::serve_metrics(const SocketAddr& address) {
  observer_ = std::make_unique<Observer>(loop_, *edge_, [this](Metrics& metrics) { report(metrics); });
  auto ops = ops::Server::listen(loop_, address,
                                 {.metrics = [this] { return observer_->metrics(); },
                                  .health = [this] { return observer_->health(); },
                                  .readiness = [this] { return readiness(); }});
  if (!ops) return fail(ops.error().code, "metrics: {}", ops.error().message);
  ops_ = std::move(*ops);
  return {};
}

void RunningNode::report(Metrics& metrics) const {
  ops::report_process(kVersion, started_, metrics);
  hub::report(hub_ ? hub_->status() : hub::Status{}, metrics);
  node::report(door_->counters(), metrics);
  node::report(to_hub_->counters(), metrics);
}

net::Task<ops::Faults> RunningNode::readiness() {
  ops::Faults faults = co_await observer_->health();
  if (is_stopping_) faults.push_back("the node is stopping");
  co_return faults;
}

void RunningNode::run() {
  edge_->start({
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
      .stopped = [this] { loop_.post([this] { closing_.spawn(finish()); }); },
  });
  loop_.run_until_stopped();
  edge_->join();
  log_info("node_stopped", "id={}", id_.short_text());
}

void RunningNode::stop() {
  loop_.post([this] {
    is_stopping_ = true;
    edge_->stop();
  });
}

net::Task<> RunningNode::finish() {
  to_hub_->close();
  door_->close();
  hub_.reset();
  last_wait_.after(kLastWait, [this] { loop_.stop(); });
  if (ops_) co_await ops_->stop();
  co_await door_->join();
  loop_.stop();
}

}  // namespace

void describe(SettingsBuilder& settings, Config& config) {
  settings.section("hub");
  settings.add({.name = "public-url",
                .help = "https URLs at which agents reach this hub; tokens contain them",
                .details = "The port of the first one is the public port.",
                .value_name = "URL,...",
                .default_text = "this host's first address and the TCP port",
                .default_is_words = true,
                .example = "https://hub.example.com",
                .form = SettingForm::kList,
                .apply = [&config](std::string_view text) -> Result<> {
                  auto url = hubapi::parse_hub_url(text);
                  if (!url) return std::unexpected(url.error());
                  config.public_urls.push_back(url->to_string());
                  return {};
                }});
  settings.add(
      {.name = "edge-addr",
       .help = "UDP addresses at which agents reach this edge, where the port is mapped to another one",
       .value_name = "HOST:PORT,...",
       .default_text = "the first public URL's host and the UDP port",
       .default_is_words = true,
       .example = "hub.example.com:443",
       .form = SettingForm::kList,
       .apply = [&config](std::string_view text) -> Result<> {
         auto address = parse_host_port(text);
         if (!address) return std::unexpected(address.error());
         config.edge_addrs.emplace_back(text);
         return {};
       }});
  settings.add(
      {.name = "tls",
       .help = "the certificate authority of terminated services",
       .details = "The only choice is `internal`, the internal CA of this node (see `culvert ca export`).",
       .value_name = "internal",
       .default_text = "internal",
       .apply = [](std::string_view text) -> Result<> {
         if (text == "internal") return {};
         return fail(ErrorCode::kInvalid, "{} is not supported; the only choice is internal",
                     culvert::quoted(text));
       }});
  edge::describe(settings, config.edge);
  ops::describe(settings, config.ops);
}

void describe_metrics(Metrics& metrics) {
  ops::report_process(kVersion, UnixTime{}, metrics);
  edge::report(edge::Counters{}, metrics);
  quic::report(quic::EngineCounters{}, metrics);
  hub::report(hub::Status{}, metrics);
  report(HubDoor::Counters{}, metrics);
  report(HubQueue::Counters{}, metrics);
  report(WorkerStates{}, metrics);
}

Result<std::unique_ptr<Node>> Node::start(Config config) {
  auto valid = check(config);
  if (!valid) return std::unexpected(valid.error());
  auto raised = raise_descriptor_limit();
  if (!raised) log_warn("descriptor_limit", "reason={}", culvert::quoted(raised.error().message));

  DataDir files{config.data_dir};
  auto created = files.create();
  if (!created) return std::unexpected(created.error());
  auto lock = files.take_lock();
  if (!lock) return std::unexpected(lock.error());
  auto secured = files.secure();
  if (!secured) return std::unexpected(secured.error());
  auto complete = files.check_complete();
  if (!complete) return std::unexpected(complete.error());
  std::error_code ignored;
  // The key alone may be of a start that failed, for want of a port; a node that ran has left its info as
  // well.
  const bool lost_database = std::filesystem::exists(files.node_key(), ignored) &&
                             std::filesystem::exists(files.info(), ignored) && !files.has_database();
  SystemRandom random;
  auto key = files.load_or_create_node_key(random);
  if (!key) return std::unexpected(key.error());
  auto node = std::make_unique<RunningNode>(key->public_key(), std::move(*lock));
  auto opened = node->open(std::move(config), *key, files);
  if (!opened) return std::unexpected(opened.error());
  if (lost_database) {
    log_warn(
        "database_created", "path={} meaning={}", culvert::quoted(files.database().native()),
        culvert::quoted("the node key was there before; invites made with it until now are unknown, restore "
                        "the database if there were any"));
  }
  return node;
}

}  // namespace culvert::node
