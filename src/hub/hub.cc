#include "hub/hub.h"

#include <array>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "http/date.h"
#include "http/parser.h"
#include "hub/answers.h"
#include "hub/api.h"
#include "hub/leases.h"
#include "hub/store_sqlite.h"

namespace culvert::hub {
namespace {

constexpr Duration kIdle = std::chrono::seconds(60);  // between the requests of one connection
constexpr Duration kWriteTime = std::chrono::seconds(10);
// What a client is still sending when it is refused: read for a moment, or the kernel's RST would overtake
// our answer.
constexpr Duration kLingerTime = std::chrono::seconds(2);
constexpr size_t kLingerBytes = 256 * 1024;

// What the hub's connections share. Outlives the Hub for as long as one of them is still unwinding.
struct Core : std::enable_shared_from_this<Core> {
  Core(net::EventLoop& its_loop, Config its_config, std::unique_ptr<Store> its_store)
      : loop(its_loop),
        config(std::move(its_config)),
        store(std::move(its_store)),
        api(config, *store, leases, random, [this] { refresh(); }),
        timer(loop) {
    if (!config.wall_clock) config.wall_clock = [this] { return loop.unix_now(); };
  }

  // After anything that may have changed leases, and when the timer rings.
  void refresh() {
    if (closing) return;
    TimePoint now = loop.now();
    UnixTime wall = config.wall_clock();
    leases.expire(now, wall);
    if (leases.take_changed() && listener) listener(leases.table());
    if (auto next = leases.next_expiry(now, wall)) {
      timer.at(*next, [this] { refresh(); });
    } else {
      timer.cancel();
    }
  }

  void stop() {
    closing = true;
    listener = nullptr;
    timer.cancel();
    store->close();
    // Closing wakes each connection's task, which may take itself off the set.
    auto open = streams;
    for (net::ByteStream* stream : open) stream->close();
  }

  net::EventLoop& loop;
  Config config;
  SystemRandom random;
  std::unique_ptr<Store> store;
  Leases leases;
  Api api;
  net::Timer timer;
  std::function<void(route::TablePtr)> listener;
  std::unordered_set<net::ByteStream*> streams;
  bool closing = false;
};

// Keeps an open connection where Core::stop() finds it.
class Registered {
 public:
  Registered(Core& core, net::ByteStream& stream) : core_(core), stream_(stream) {
    core_.streams.insert(&stream_);
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() { core_.streams.erase(&stream_); }

 private:
  Core& core_;
  net::ByteStream& stream_;
};

// The answer to a request that could not be read; none where there was no request, or the client is gone.
std::optional<http::Response> unreadable(const Error& error, bool begun) {
  switch (error.code) {
    case ErrorCode::kInvalid:
      return error_response(400, "bad_request", error.message);
    case ErrorCode::kLimit:
      return error_response(413, "too_large", error.message);
    case ErrorCode::kTimeout:
      if (!begun) return std::nullopt;
      return error_response(408, "request_timeout",
                            "the rest of the request did not come in time; try again");
    default:
      return std::nullopt;
  }
}

net::Task<> refuse_and_linger(net::ByteStream& stream, net::Reader& reader, http::Response refusal) {
  auto written =
      co_await http::write_response(stream, std::move(refusal), false, stream.loop().now() + kWriteTime);
  if (!written) co_return;
  TimePoint deadline = stream.loop().now() + kLingerTime;
  auto finished = co_await net::finish(stream, deadline);
  if (!finished) co_return;
  std::array<uint8_t, 4096> scrap;
  for (size_t total = 0; total < kLingerBytes;) {
    auto count = co_await reader.read_some(scrap, deadline);
    if (!count || *count == 0) co_return;
    total += *count;
  }
}

net::Task<> serve_connection(std::shared_ptr<Core> core, std::unique_ptr<net::ByteStream> stream,
                             std::function<void()> on_request) {
  if (core->closing) {
    stream->close();
    co_return;
  }
  Registered registered(*core, *stream);
  const SocketAddr client = stream->remote_addr();
  net::Reader reader(*stream);
  http::RequestParser parser;
  const Duration request_time = core->config.request_time;
  Duration patience = request_time;  // a client that connects has a request to send
  while (!core->closing) {
    auto request = co_await http::read_request(reader, parser, core->loop.now() + patience, request_time);
    patience = kIdle;
    if (!request) {
      auto refusal = unreadable(request.error(), !parser.idle());
      if (refusal) {
        log_debug("hub_request_refused", "client={} reason={}", stream->remote_addr().to_string(),
                  culvert::quoted(request.error().message));
        refusal->headers.add("Date", http::format_date(core->config.wall_clock()));
        co_await refuse_and_linger(*stream, reader, std::move(*refusal));
      }
      break;
    }
    if (!*request || core->closing) break;
    if (on_request) on_request();
    const bool keep_alive = (*request)->keep_alive;
    http::Exchange exchange{
        .request = std::move(**request), .client = client, .now = core->loop.now(), .rest = {}};
    http::Response response = co_await core->api.handle(std::move(exchange));
    // The new table is out before the answer: who reads "revoked" may rely on it.
    core->refresh();
    auto written = co_await http::write_response(*stream, std::move(response), keep_alive,
                                                 core->loop.now() + kWriteTime);
    if (!written) break;
    if (!keep_alive) {
      (void)co_await net::finish(*stream, core->loop.now() + kWriteTime);
      break;
    }
  }
  stream->close();
}

class HubImpl final : public Hub {
 public:
  explicit HubImpl(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~HubImpl() override { core_->stop(); }

  void set_table_listener(std::function<void(route::TablePtr)> listener) override {
    core_->listener = std::move(listener);
    (void)core_->leases.take_changed();
    core_->listener(core_->leases.table());
  }
  void agent_left(const EndpointId& agent) override {
    core_->leases.end_agent(agent);
    core_->refresh();
  }
  void agents_heard(const std::vector<route::AgentHeard>& agents) override {
    for (const route::AgentHeard& heard : agents) core_->leases.heard(heard);
  }
  void tunnel_closed(const EndpointId& agent) override {
    core_->leases.tunnel_closed(agent, core_->loop.now());
  }
  Status status() const override {
    return {core_->api.counters(), core_->store->counters(), core_->leases.size(),
            core_->store->unstored_revocations()};
  }
  net::Task<> serve(std::unique_ptr<net::ByteStream> stream, std::function<void()> on_request) override {
    return serve_connection(core_, std::move(stream), std::move(on_request));
  }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

void report(const Status& status, Metrics& metrics) {
  report(status.api, metrics);
  metrics.gauge("culvert_hub_leases", "Agents that hold a lease.", static_cast<double>(status.leases));
  metrics.gauge("culvert_hub_unstored_revocations",
                "Revocations that the database refused and that a restart would undo.",
                static_cast<double>(status.unstored_revocations));
  const auto failed = [&](std::string_view reason, uint64_t count) {
    metrics.counter("culvert_hub_failed_writes_total",
                    "Writes of the operator's calls that the database did not store, by reason.", count,
                    {{"reason", reason}});
  };
  failed("queue_full", status.store.refused_full);
  failed("timeout", status.store.timed_out);
  failed("refused", status.store.refused);
}

Result<std::unique_ptr<Hub>> Hub::open(net::EventLoop& loop, Config config) {
  if (config.operator_key.empty())
    return fail(ErrorCode::kInvalid, "the operator key is empty; give the hub one");
  SystemRandom random;
  auto store = open_sqlite_store(loop, config.database, random, config.store);
  if (!store) return std::unexpected(store.error());
  return std::make_unique<HubImpl>(std::make_shared<Core>(loop, std::move(config), std::move(*store)));
}

}  // namespace culvert::hub
