#include "hub/hub.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "http/server.h"
#include "hub/answers.h"
#include "hub/api.h"
#include "hub/edge_sessions.h"
#include "hub/leases.h"
#include "hub/ledger.h"
#include "hub/route_publisher.h"

namespace culvert::hub {
namespace {

constexpr Duration kStoreDelay = std::chrono::seconds(1);
constexpr Duration kPublishDelay = std::chrono::milliseconds(20);
// Edges that join or leave together are told together.
constexpr Duration kDeclareDelay = std::chrono::milliseconds(500);
// Agents declare again at this rate, so that the hub has time for other things.
constexpr Duration kDeclareTime = std::chrono::milliseconds(2);
constexpr Duration kMinSpread = std::chrono::seconds(1);
constexpr Duration kMaxSpread = std::chrono::seconds(60);

// What a request that the server cannot give to the API is told.
http::Response refusal(int status, const Error& reason, const http::Exchange& exchange) {
  log_debug("hub_request_refused", "client={} status={} reason={} request_id={}", exchange.client.to_string(),
            status, culvert::quoted(reason.message), request_id(exchange));
  switch (status) {
    case 408:
      return error_response(408, "request_timeout",
                            "the rest of the request did not come in time; try again");
    case 413:
    case 431:
      return error_response(status, "too_large", reason.message);
    case 500:
      return error_response(500, "internal", reason.message);
    default:
      return error_response(status, "bad_request", reason.message);
  }
}

Config with_clock(Config config, net::EventLoop& loop) {
  if (!config.wall_clock) config.wall_clock = [&loop] { return loop.unix_now(); };
  return config;
}

// What the hub's connections share. Outlives the Hub for as long as one of them is still unwinding.
struct Core : std::enable_shared_from_this<Core> {
  Core(net::EventLoop& its_loop, Config its_config, std::unique_ptr<RecordStore> store)
      : loop(its_loop),
        config(with_clock(std::move(its_config), loop)),
        ledger(loop, std::move(store), state, config.store, config.key.public_key()),
        publisher(config.key, loop.random().u64()),
        edge_sessions(loop, publisher, state.leases),
        certificates(loop, state, ledger, config.key, fmt::format("{:016x}", loop.random().u64())),
        api(config, state, ledger, edge_sessions, certificates.feed(), loop.random(), [this] { refresh(); }),
        server(loop,
               {.request_time = config.request_time,
                .wall_clock = [this] { return config.wall_clock(); },
                .prepare = [this](http::Exchange& exchange) { api.prepare(exchange); },
                .refusal = refusal,
                .ended = [this](const http::Exchange& exchange) { api.ended(exchange, loop.now()); }},
               [this](http::Exchange& exchange) { return api.handle(exchange); }),
        timer(loop),
        store_timer(loop),
        publish_timer(loop),
        declare_timer(loop),
        beat_timer(loop) {
    dialled = state.edges.dialled();
    state.edges.set_listener([this](const EndpointId& edge) { edge_changed(edge); });
    ledger.set_on_followed([this] { refresh(); });
    refresh();  // leases that were stored may be over
    publisher.publish();
    beat();
  }

  // For the other hubs, if there are any.
  void beat() {
    if (!state.leases.hubs().is_shared()) return;
    state.leases.hubs().beat();
    ledger.flush_later();
    beat_timer.after(Hubs::kBeat, [this] { beat(); });
  }

  // After anything that may have changed leases, and when the timer rings.
  void refresh() {
    if (closing) return;
    Leases& leases = state.leases;
    TimePoint now = loop.now();
    UnixTime wall = config.wall_clock();
    state.expire(now, wall);
    if (auto delta = leases.take_delta()) {
      if (listener) listener(*delta);
      publisher.add(*delta);
      publish_soon();
    }
    if (auto next = state.next_expiry(now, wall)) {
      timer.at(*next, [this] { refresh(); });
    } else {
      timer.cancel();
    }
    store_soon();
  }

  // Changes that come together are one version.
  void publish_soon() {
    if (!publisher.has_changes() || std::exchange(publishing, true)) return;
    publish_timer.after(kPublishDelay, [this] {
      publishing = false;
      publisher.publish();
      edge_sessions.published();
    });
  }

  // Also when another hub has changed it.
  void edge_changed(const EndpointId& edge) {
    if (state.edges.find(edge) == nullptr) {
      edge_sessions.revoke(edge);
      certificates.feed().revoke(edge);
    }
    if (state.edges.dialled() == dialled || std::exchange(declaring, true)) return;
    declare_timer.after(kDeclareDelay, [this] {
      declaring = false;
      dialled = state.edges.dialled();
      const Duration spread =
          std::clamp<Duration>(kDeclareTime * state.leases.size(), kMinSpread, kMaxSpread);
      edge_sessions.declare_again(spread);
      if (declare_listener) declare_listener(spread);
    });
  }

  // Ends of leases and claims, for which no request waits.
  void store_soon() {
    if (!state.has_unstored() || std::exchange(storing, true)) return;
    store_timer.after(kStoreDelay, [this] {
      storing = false;
      ledger.flush_later();
    });
  }

  void stop() {
    closing = true;
    listener = nullptr;
    declare_listener = nullptr;
    timer.cancel();
    store_timer.cancel();
    publish_timer.cancel();
    declare_timer.cancel();
    beat_timer.cancel();
    certificates.set_listeners({});
    ledger.close();
    edge_sessions.close();
    certificates.feed().close();
    server.close();
  }

  net::EventLoop& loop;
  Config config;
  State state;
  Ledger ledger;
  RoutePublisher publisher;
  EdgeSessions edge_sessions;
  SharedCertificates certificates;
  Api api;
  http::Server server;
  net::Timer timer;
  net::Timer store_timer;
  net::Timer publish_timer;
  net::Timer declare_timer;
  net::Timer beat_timer;
  bool storing = false;
  bool publishing = false;
  bool declaring = false;
  std::vector<hubapi::EdgeInfo> dialled;  // as agents were told last
  std::function<void(const route::Delta&)> listener;
  std::function<void(Duration)> declare_listener;
  bool closing = false;
};

// Keeps what it serves from.
net::Task<> serve_connection(std::shared_ptr<Core> core, std::unique_ptr<net::ByteStream> stream,
                             http::ConnectionOptions options) {
  co_await core->server.serve(std::move(stream), std::move(options));
}

net::Task<> note(std::shared_ptr<Core> core, ReloadReport report) {
  co_await core->api.note_reload(std::move(report));
}

class HubImpl final : public Hub {
 public:
  explicit HubImpl(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~HubImpl() override { core_->stop(); }

  route::SnapshotPtr routes() const override { return core_->state.leases.snapshot(); }
  void set_route_listener(std::function<void(const route::Delta&)> listener) override {
    core_->listener = std::move(listener);
  }
  void agent_left(const EndpointId& agent) override {
    core_->state.leases.end_agent(agent);
    core_->refresh();
  }
  void agents_heard(const std::vector<route::AgentHeard>& agents) override {
    for (const route::AgentHeard& heard : agents) core_->state.leases.heard(heard);
  }
  void tunnel_closed(const EndpointId& agent) override {
    core_->state.leases.tunnel_closed(agent, core_->loop.now());
  }
  Status status() const override {
    return {core_->api.counters(),
            core_->ledger.counters(),
            core_->state.leases.size(),
            core_->edge_sessions.streams(),
            core_->state.invites.unstored_revocations().size(),
            core_->api.requests(),
            core_->ledger.is_failing(),
            StatusHandler::faults(core_->state, core_->ledger)};
  }
  std::shared_ptr<SharedCertificates> certificates() override { return {core_, &core_->certificates}; }
  void set_tenant_rules(TenantRules rules) override {
    rules.ports.own = std::move(core_->config.tenants.ports.own);
    core_->state.rules = core_->config.tenants = std::move(rules);
  }
  void set_declare_listener(std::function<void(Duration)> listener) override {
    core_->declare_listener = std::move(listener);
  }
  void drain() override { core_->server.drain(); }
  net::Task<> note_reload(ReloadReport report) override { return note(core_, std::move(report)); }
  net::Task<> serve(std::unique_ptr<net::ByteStream> stream, http::ConnectionOptions options) override {
    return serve_connection(core_, std::move(stream), std::move(options));
  }

 private:
  std::shared_ptr<Core> core_;
};

Result<> check(const Config& config) {
  if (config.operator_key.empty())
    return fail(ErrorCode::kInvalid, "the operator key is empty; give the hub one");
  return {};
}

}  // namespace

void report(const Status& status, Metrics& metrics) {
  report(status.api, metrics);
  status.requests.report(metrics);
  metrics.gauge("culvert_hub_leases", "Agents that hold a lease.", static_cast<double>(status.leases));
  metrics.gauge("culvert_hub_edges_following", "Edges of their own that follow this hub's routes.",
                static_cast<double>(status.edges_following));
  metrics.gauge("culvert_hub_unstored_revocations",
                "Revocations that the database refused and that a restart would undo.",
                static_cast<double>(status.unstored_revocations));
  metrics.gauge("culvert_hub_database_up", "Whether the hub's database took the last write or check.",
                status.is_database_failing ? 0 : 1);
  metrics.counters("culvert_hub_failed_writes_total",
                   "Changes that the database did not store at once, by reason.", "reason",
                   {
                       {"queue_full", status.ledger.refused_full},
                       {"timeout", status.ledger.timed_out},
                       {"refused", status.ledger.refused},
                   });
}

Result<std::unique_ptr<Hub>> Hub::open(net::EventLoop& loop, Config config) {
  auto valid = check(config);
  if (!valid) return std::unexpected(valid.error());
  auto store = open_store(loop, config.database, config.database_url, loop.random(), config.key.public_key(),
                          config.store);
  if (!store) return std::unexpected(store.error());
  return with_store(loop, std::move(config), std::move(*store));
}

Result<std::unique_ptr<Hub>> Hub::with_store(net::EventLoop& loop, Config config,
                                             std::unique_ptr<RecordStore> store) {
  auto valid = check(config);
  if (!valid) return std::unexpected(valid.error());
  return std::make_unique<HubImpl>(std::make_shared<Core>(loop, std::move(config), std::move(store)));
}

}  // namespace culvert::hub
