#include "node/node.h"

#include <utility>

#include "base/ascii.h"
#include "base/host_port.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/version.h"
#include "hubapi/token.h"
#include "net/hand_over_platform.h"
#include "net/tcp.h"
#include "node/assembly.h"
#include "node/data_dir.h"
#include "node/hand_over.h"
#include "node/observer.h"
#include "node/predecessors.h"
#include "node/take_over.h"
#include "ops/process.h"
#include "quic/counters.h"

namespace culvert::node {
namespace {

// After everything was told to end: for the hub's connections to notice.
constexpr Duration kLastWait = std::chrono::seconds(1);
// After a hand-over: agents are told at its end, and most are here within a second.
constexpr Duration kAgentsGrace = std::chrono::seconds(10);
// From what the process before this one released to serving. Less than that one waits (HandOver), so that
// never both serve.
constexpr Duration kTakeOverTime = std::chrono::seconds(45);
// Ports of routes take up their sockets when the workers have the routes.
constexpr Duration kClaimTime = std::chrono::seconds(10);

Result<> check(const Config& config) {
  if (config.data_dir.empty())
    return fail(ErrorCode::kInvalid, "no data directory given; name one with --data-dir");
  if (config.edge.workers < 1 || config.edge.workers > 256) {
    return fail(ErrorCode::kInvalid, "{} workers: 1 to 256 are possible", config.edge.workers);
  }
  if (config.edge.max_connections < 1)
    return fail(ErrorCode::kInvalid, "at least one public connection must be allowed");
  const bool is_edge_alone = config.roles == Roles::kEdge;
  if (is_edge_alone && !config.edge_token) {
    return fail(ErrorCode::kInvalid,
                "edge-token: there is none. Make one on the hub with `culvert edge-invite create`, then give "
                "--edge-token-file or CULVERT_EDGE_TOKEN");
  }
  if (!is_edge_alone && config.edge_token) {
    return fail(ErrorCode::kInvalid,
                "edge-token: a hub needs none; run `culvert edge`, or take the token out");
  }
  return check_routes(config);
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
  explicit RunningNode(PublicKey id)
      : id_(id),
        loop_(platform_),
        last_wait_(loop_),
        claim_timer_(loop_),
        predecessors_(loop_,
                      {.passed = [this](HandOverPassed passed,
                                        Descriptor socket) { admit(std::move(passed), std::move(socket)); },
                       .ended = [this](uint8_t generation) { platform_.forget(generation); },
                       .changed = [this] { predecessors_changed(); }}),
        tasks_(loop_) {}

  // The data directory's first.
  void set_locks(std::vector<FileLock> locks) { locks_ = std::move(locks); }
  // Gets the locks and the sockets of the process before this one.
  Result<> take_over(const Config& config, const DataDir& files);
  Result<> open(Config config, const SecretKey& key, const DataDir& files);
  Result<> run() override;
  void stop() override;

  void reconfigure(const Config& wanted) override {
    assembly_->reconfigure(wanted.edge);
    assembly_->set_tenant_rules(wanted.tenants);
  }
  void note_reload(ReloadReport report) override { tasks_.spawn(assembly_->note_reload(std::move(report))); }
  void post(std::function<void()> work) override { loop_.post(std::move(work)); }

  const PublicKey& id() const override { return id_; }
  SocketAddr tcp_addr() const override { return assembly_->edge().tcp_addr(); }
  SocketAddr udp_addr() const override { return assembly_->edge().udp_addr(); }
  std::optional<SocketAddr> metrics_addr() const override {
    return ops_ ? std::optional(ops_->local_addr()) : std::nullopt;
  }
  const std::vector<std::string>& public_urls() const override { return assembly_->public_urls(); }

 private:
  Result<> serve_metrics(const SocketAddr& address);
  void report(Metrics& metrics) const;
  net::Task<ops::Faults> readiness();
  ops::Faults degradation() const;
  net::Task<std::string> edge_status();
  net::Task<> finish();
  HandOverHello hello(const Config& config) const;
  void prepare_hand_over(const Config& config, const DataDir& files);
  Result<> tell_predecessor();
  void serving();
  void admit(HandOverPassed passed, Descriptor socket);
  void predecessors_changed();
  void hand_over_ended(bool is_handed_over);
  net::Task<> close_after_hand_over();

  // Released last.
  std::vector<FileLock> locks_;
  PublicKey id_;
  bool is_stopping_ = false;  // on loop_
  uint8_t generation_ = 0;
  std::string run_;  // HubLink::run(), as taken over
  std::filesystem::path hand_over_socket_;
  std::function<void()> on_serving_;
  net::HandOverPlatform platform_;
  // Coroutines that a forced end left behind die with the loop; all they may touch then is theirs or shared.
  net::EventLoop loop_;
  // Until this serves: the process that it takes over from is the last. It learns of a failure when all that
  // is made below is gone.
  std::vector<Draining> draining_;
  TimePoint released_at_ = {};
  const UnixTime started_ = loop_.unix_now();
  net::Timer last_wait_;
  net::Timer claim_timer_;
  Predecessors predecessors_;
  net::TaskGroup tasks_;
  std::unique_ptr<Assembly> assembly_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<ops::Server> ops_;
  std::unique_ptr<HandOver> hand_over_;
};

std::unexpected<Error> nobody_hands_over(const DataDir& files, std::string_view reason) {
  return fail(
      ErrorCode::kNotFound,
      "no node that could hand over runs with the data directory {} ({}); start one without --upgrade",
      files.path.native(), reason);
}

HandOverHello RunningNode::hello(const Config& config) const {
  return {.version = std::string(kVersion),
          .id = id_.to_string(),
          .roles = to_string(config.roles),
          .workers = config.edge.workers,
          .tcp = edge::public_address(config.edge),
          .udp = edge::tunnel_address(config.edge)};
}

net::Task<> ask_for_hand_over(net::EventLoop& loop, std::filesystem::path socket, HandOverHello hello,
                              std::optional<Result<TakenOver>>& outcome) {
  auto taken = co_await node::take_over(loop, std::move(socket), std::move(hello));
  outcome.emplace(std::move(taken));
}

Result<> RunningNode::take_over(const Config& config, const DataDir& files) {
  std::optional<Result<TakenOver>> outcome;
  tasks_.spawn(ask_for_hand_over(loop_, files.hand_over_socket(), hello(config), outcome));
  while (!outcome) loop_.run_once(TimePoint::max());
  if (!*outcome) {
    const Error& error = outcome->error();
    if (error.code != ErrorCode::kNotFound)
      return fail(error.code, "the running node does not hand over: {}", error.message);
    return nobody_hands_over(files, error.message);
  }
  TakenOver& taken = **outcome;
  generation_ = taken.generation;
  run_ = std::move(taken.run);
  for (Descriptor& lock : taken.locks) locks_.push_back(FileLock::adopt(std::move(lock)));
  draining_ = std::move(taken.draining);
  draining_.push_back(std::move(taken.before));
  platform_.give(std::move(taken.sockets));
  released_at_ = loop_.now();
  return {};
}

Result<> RunningNode::open(Config config, const SecretKey& key, const DataDir& files) {
  auto ca = files.load_or_create_ca(loop_.unix_now());
  if (!ca) return std::unexpected(ca.error());
  Assembly::Parts parts{.key = key,
                        .ca = std::move(*ca),
                        .edge_addrs = config.edge_addrs,
                        .edge = config.edge,
                        .is_edge = config.roles != Roles::kHub,
                        .token = config.edge_token,
                        .acme = config.acme,
                        .dns = config.dns,
                        .certificates = files.certificates(),
                        .hub_certificates = files.hub_certificates(),
                        .generation = generation_,
                        .agents_grace = draining_.empty() ? Duration::zero() : kAgentsGrace,
                        .run = run_,
                        .former_processes = [this] { return predecessors_.all(); }};
  on_serving_ = config.on_serving;
  if (config.edge_token) {
    parts.route_file = files.routes();
  } else {
    auto operator_key = files.load_or_create_operator_key(loop_.random());
    if (!operator_key) return std::unexpected(operator_key.error());
    parts.operator_key = std::move(*operator_key);
    parts.public_urls = config.public_urls;
    parts.database = files.database();
    parts.database_url = config.database_url;
    parts.store_options = config.store;
    parts.reload = config.reload;
    parts.tenants = std::move(config.tenants);
    for (const edge::StaticRoute& route : config.edge.routes) {
      const route::Match match = route.match();
      if (match.port() != nullptr) parts.tenants.ports.own.insert(*match.port());
    }
    if (config.ops.listen)
      parts.tenants.ports.own.insert({route::PortProtocol::kTcp, config.ops.listen->port()});
  }
  auto assembly = Assembly::open(loop_, std::move(parts));
  if (!assembly) return std::unexpected(assembly.error());
  assembly_ = std::move(*assembly);

  if (config.ops.listen) {
    auto served = serve_metrics(*config.ops.listen);
    if (!served) return served;
  }

  prepare_hand_over(config, files);
  if (!draining_.empty() && loop_.now() > released_at_ + kTakeOverTime)
    return fail(ErrorCode::kTimeout,
                "taking over took longer than 45 s, so that the running node has gone on");

  log_info("node_started", "id={} roles={} tcp={} udp={} url={} workers={} version={} generation={}",
           id_.to_string(), to_string(config.roles), tcp_addr().to_string(),
           config.roles == Roles::kHub ? "none" : udp_addr().to_string(),
           public_urls().empty() ? "none" : public_urls().front(), config.edge.workers, kVersion,
           generation_);
  auto written = config.edge_token ? files.write_edge_info({id_, metrics_addr()})
                                   : files.write_info({urls_on_this_host(tcp_addr(), public_urls()), id_});
  if (!written) {
    // A full disk must not keep the routes down.
    log_error("node_info_not_written", "reason={} meaning={}", culvert::quoted(written.error().message),
              culvert::quoted("the node serves; commands on this host may not find it"));
  }
  return {};
}

Result<> RunningNode::serve_metrics(const SocketAddr& address) {
  observer_ =
      std::make_unique<Observer>(loop_, assembly_->edge(), [this](Metrics& metrics) { report(metrics); });
  ops::Sources sources{.metrics = [this] { return observer_->metrics(); },
                       .health = [this] { return observer_->health(); },
                       .readiness = [this] { return readiness(); },
                       .degradation = [this] { return degradation(); }};
  // A hub's is in its API.
  if (assembly_->edge_status()) sources.status = [this] { return edge_status(); };
  auto ops = ops::Server::listen(loop_, address, std::move(sources));
  if (!ops) return fail(ops.error().code, "metrics: {}", ops.error().message);
  ops_ = std::move(*ops);
  return {};
}

void RunningNode::report(Metrics& metrics) const {
  ops::report_process(kVersion, started_, metrics);
  assembly_->report(metrics);
  platform_.report(metrics);
  node::report(HandOverStatus{.generation = generation_,
                              .predecessors = predecessors_.size(),
                              .predecessor_connections = predecessors_.connections(),
                              .failed = hand_over_ ? hand_over_->failed() : 0},
               metrics);
}

net::Task<ops::Faults> RunningNode::readiness() {
  ops::Faults faults = co_await observer_->health();
  if (is_stopping_) faults.push_back("the node is stopping");
  if (auto fault = assembly_->fault()) faults.push_back(std::move(*fault));
  co_return faults;
}

// The edge serves the routes that it has.
ops::Faults RunningNode::degradation() const {
  if (const auto status = assembly_->edge_status()) return faults_of(*status);
  return assembly_->hub_status().faults;
}

net::Task<std::string> RunningNode::edge_status() {
  auto stuck = co_await observer_->health();
  EdgeStatus status = assembly_->edge_status().value();
  status.started = started_;
  status.stuck = std::move(stuck);
  co_return to_json(status);
}

Result<> RunningNode::run() {
  if (auto told = tell_predecessor(); !told) return told;
  assembly_->start([this] { tasks_.spawn(finish()); });
  serving();
  loop_.run_until_stopped();
  assembly_->edge().join();
  log_info("node_stopped", "id={}", id_.short_text());
  return {};
}

// Before this one serves: the process before it serves again once it has waited for too long, and hears
// nothing more then.
Result<> RunningNode::tell_predecessor() {
  if (draining_.empty()) return {};
  auto told = draining_.back().channel->send({encode(HandOverServing{}), {}});
  if (told) return told;
  return fail(told.error().code,
              "the running node serves again, because this process did not serve in time or it has ended: {}",
              told.error().message);
}

void RunningNode::stop() {
  loop_.post([this] {
    is_stopping_ = true;
    predecessors_.stop();
    assembly_->stop();
  });
}

void RunningNode::prepare_hand_over(const Config& config, const DataDir& files) {
  hand_over_ = std::make_unique<HandOver>(
      loop_, HandOver::Parts{.platform = platform_,
                             .assembly = *assembly_,
                             .predecessors = predecessors_,
                             .self = hello(config),
                             .generation = generation_,
                             .is_stopping = [this] { return is_stopping_; },
                             .locks = [this]() -> Result<std::vector<Descriptor>> {
                               std::vector<Descriptor> locks;
                               for (const FileLock& lock : locks_) {
                                 auto copy = lock.duplicate();
                                 if (!copy) return std::unexpected(copy.error());
                                 locks.push_back(std::move(*copy));
                               }
                               return locks;
                             },
                             .ended = [this](bool is_handed_over) { hand_over_ended(is_handed_over); },
                             .successor_lost =
                                 [this] {
                                   log_error("successor_lost", "meaning={}",
                                             quoted("the process that took over has ended, and with it the "
                                                    "way of datagrams to this one; it ends too"));
                                   stop();
                                   stop();
                                 },
                             .stop = [this] { stop(); }});
  // One that takes over is asked for the next hand-over when it serves.
  hand_over_socket_ = files.hand_over_socket();
}

void RunningNode::serving() {
  for (const FileLock& lock : locks_) lock.name_owner();
  for (Draining& each : draining_) predecessors_.add(std::move(each));
  draining_.clear();
  if (predecessors_.size() > 0)
    assembly_->set_route_watch([this](const route::Delta& changes) { predecessors_.tell(changes); });
  auto listening = hand_over_->listen(hand_over_socket_);
  if (!listening) log_warn("hand_over_impossible", "reason={}", culvert::quoted(listening.error().message));
  claim_timer_.after(kClaimTime, [this] {
    const size_t dropped = platform_.drop_unclaimed();
    if (dropped > 0) log_info("sockets_dropped", "sockets={}", dropped);
  });
  if (on_serving_) on_serving_();
}

void RunningNode::admit(HandOverPassed passed, Descriptor socket) {
  edge::PublicConnection connection{.socket = net::adopt_socket(loop_, std::move(socket))};
  connection.host = std::move(passed.host);
  connection.client = passed.client;
  connection.public_addr = passed.public_addr;
  connection.received = std::move(passed.received);
  connection.accepted = loop_.now();
  assembly_->admit(std::move(connection));
}

void RunningNode::predecessors_changed() {
  if (!assembly_) return;
  assembly_->edge().set_predecessors(predecessors_.size());
  if (predecessors_.size() == 0) assembly_->set_route_watch(nullptr);  // which compares all routes at times
}

void RunningNode::hand_over_ended(bool is_handed_over) {
  if (!is_handed_over) {
    for (const FileLock& lock : locks_) lock.name_owner();
    return;
  }
  locks_.clear();
  tasks_.spawn(close_after_hand_over());
}

// Another process listens there.
net::Task<> RunningNode::close_after_hand_over() {
  if (ops_) co_await ops_->stop();
  co_await assembly_->close_dns();
}

net::Task<> RunningNode::finish() {
  assembly_->close();
  last_wait_.after(kLastWait, [this] { loop_.stop(); });
  hand_over_->close();
  predecessors_.leave();
  if (ops_) co_await ops_->stop();
  co_await assembly_->closed();
  co_await hand_over_->join();
  co_await predecessors_.join();
  loop_.stop();
}

// Of a node that does not take over; with them, what an interrupted start left is removed.
Result<std::vector<FileLock>> take_locks(const Config& config, const DataDir& files) {
  std::vector<FileLock> locks;
  auto lock = files.take_lock();
  if (!lock) return std::unexpected(lock.error());
  locks.push_back(std::move(*lock));
  auto secured = files.secure();
  if (!secured) return std::unexpected(secured.error());
  if (config.edge_token) return locks;
  auto database_lock = files.take_database_lock();
  if (!database_lock) return std::unexpected(database_lock.error());
  if (*database_lock) locks.push_back(std::move(**database_lock));
  return locks;
}

Result<std::unique_ptr<Node>> start_edge(Config config, const DataDir& files, std::vector<FileLock> locks) {
  const SecretKey key = config.edge_token->edge_key;
  auto node = std::make_unique<RunningNode>(key.public_key());
  node->set_locks(std::move(locks));
  if (config.takes_over) {
    auto taken = node->take_over(config, files);
    if (!taken) return std::unexpected(taken.error());
  }
  auto opened = node->open(std::move(config), key, files);
  if (!opened) return std::unexpected(opened.error());
  return node;
}

}  // namespace

const char* to_string(Roles roles) {
  switch (roles) {
    case Roles::kHubAndEdge:
      return "hub,edge";
    case Roles::kHub:
      return "hub";
    case Roles::kEdge:
      return "edge";
  }
  return "unknown";
}

std::optional<Roles> parse_roles(std::string_view text) {
  for (Roles roles : {Roles::kHubAndEdge, Roles::kHub, Roles::kEdge}) {
    if (text == to_string(roles)) return roles;
  }
  return text == "edge,hub" ? std::optional(Roles::kHubAndEdge) : std::nullopt;
}

namespace {

void describe_hub(SettingsBuilder& settings, Config& config) {
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
  settings.add({.name = "tls",
                .help = "the certificate authority of terminated services",
                .details =
                    "The only choice is `internal`, the internal CA of this node (see `culvert ca export`); "
                    "certificates of a public CA take its place where section [acme] names one.",
                .value_name = "internal",
                .default_text = "internal",
                .choices = {"internal"},
                .apply = [](std::string_view text) -> Result<> {
                  if (text == "internal") return {};
                  return fail(ErrorCode::kInvalid, "{} is not supported; the only choice is internal",
                              culvert::quoted(text));
                }});
  describe_operator_key_file(settings, "operator-key-file", config.places.operator_key);
  describe_database(settings, config.database_url, config.places.database);
  settings.add({.name = "audit-entries",
                .help = "how many entries of the audit log are kept, the newest: so many of tenants, and as "
                        "many of operators",
                .details = "An entry has some 500 bytes."},
               config.store.audit_entries, 1000, 1'000'000'000);
  hub::describe(settings, config.tenants);
}

}  // namespace

void describe(SettingsBuilder& settings, Config& config) {
  settings.section("");
  describe_ca_directory(settings, config.places.ca_directory);
  if (config.roles != Roles::kEdge) {
    add_path(settings,
             {.name = "node-key-file",
              .help = "the file of the node's identity, 32 bytes",
              .details = "It is made when missing. An edge alone has its identity in its token.",
              .value_name = "FILE",
              .default_text = "`node.key` in the data directory",
              .example = "/run/secrets/node.key"},
             config.places.node_key);
    describe_hub(settings, config);
  }
  edge::describe(settings, config.edge);
  if (config.roles != Roles::kHub) {
    add_path(settings,
             {.name = "route-file",
              .help = "the file in which an edge alone keeps the routes of its hub",
              .value_name = "FILE",
              .default_text = "`routes.jsonl` in the data directory",
              .example = "/var/lib/culvert/routes.jsonl"},
             config.places.routes);
  }
  settings.add(
      {.name = "edge-addr",
       .help = "UDP addresses at which agents reach this edge, where the port is mapped to another one",
       .value_name = "HOST:PORT,...",
       .default_text = "the host of the first public URL, or this host's address, and the UDP port",
       .default_is_words = true,
       .example = "hub.example.com:443",
       .form = SettingForm::kList,
       .apply = [&config](std::string_view text) -> Result<> {
         auto address = parse_host_port(text);
         if (!address) return std::unexpected(address.error());
         config.edge_addrs.emplace_back(text);
         return {};
       }});
  acme::describe(settings, config.acme);
  describe(settings, config.dns);
  ops::describe(settings, config.ops);
}

void describe_metrics(Metrics& metrics) {
  ops::report_process(kVersion, UnixTime{}, metrics);
  edge::describe_metrics(metrics);
  quic::report(quic::EngineCounters{}, metrics);
  hub::report(hub::Status{}, metrics);
  report(HubDoor::Counters{}, metrics);
  report(HubQueue::Counters{}, metrics);
  report(HubLink::Counters{}, metrics);
  report(WorkerStates{}, metrics);
  acme::report(acme::Manager::Totals{}, metrics);
  report_no_dns(metrics);
  report(HandOverStatus{}, metrics);
  net::HandOverPlatform().report(metrics);
}

Result<> check_routes(const Config& config) {
  if (config.edge.routes.empty()) return {};
  if (config.roles == Roles::kHub) {
    return fail(
        ErrorCode::kInvalid,
        "route: a hub alone serves no routes; give static routes to `culvert node` or `culvert edge`");
  }
  for (const std::string& text : config.public_urls) {
    const auto url = hubapi::parse_hub_url(text);
    for (const edge::StaticRoute& route : config.edge.routes) {
      const std::string name = route.match().text();
      if (url && to_lower(url->host) == name)
        return fail(ErrorCode::kInvalid,
                    "route: {} is the name of the hub itself ({}), which answers there; use another name",
                    name, text);
    }
  }
  return edge::check_static_routes(config.edge.routes);
}

Result<std::unique_ptr<Node>> Node::start(Config config) {
  auto valid = check(config);
  if (!valid) return std::unexpected(valid.error());
  auto raised = raise_descriptor_limit();
  if (!raised) log_warn("descriptor_limit", "reason={}", culvert::quoted(raised.error().message));

  const DataDir files{config.data_dir, config.places};
  std::error_code ignored;
  if (config.takes_over && !std::filesystem::exists(files.hand_over_socket(), ignored))
    return nobody_hands_over(files, "there is no hand-over in it");
  auto created = files.create();
  if (!created) return std::unexpected(created.error());
  auto locks = config.takes_over ? Result<std::vector<FileLock>>() : take_locks(config, files);
  if (!locks) return std::unexpected(locks.error());
  if (config.edge_token) return start_edge(std::move(config), files, std::move(*locks));
  auto complete = files.check_complete();
  if (!complete) return std::unexpected(complete.error());
  // The key alone may be of a start that failed, for want of a port; a node that ran has left its info as
  // well.
  const bool lost_database = std::filesystem::exists(files.node_key(), ignored) &&
                             std::filesystem::exists(files.info(), ignored) && config.database_url.empty() &&
                             !files.has_database();
  SystemRandom random;
  auto key = files.load_or_create_node_key(random);
  if (!key) return std::unexpected(key.error());
  auto node = std::make_unique<RunningNode>(key->public_key());
  node->set_locks(std::move(*locks));
  if (config.takes_over) {
    auto taken = node->take_over(config, files);
    if (!taken) return std::unexpected(taken.error());
  }
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
