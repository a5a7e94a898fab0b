#include "origin/health_checks.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "http/client.h"
#include "wire/proxy_protocol.h"

namespace culvert::origin {
namespace {

// Of an origin without a check of its own that clients did not reach: a connection that is refused costs
// nothing.
constexpr Duration kRecoveryInterval = std::chrono::seconds(2);
// The first check comes soon, but those of all services and agents do not come at once.
constexpr Duration kFirstWithin = std::chrono::seconds(1);

HealthCheck check_of(const Service& service) {
  if (service.health) return *service.health;
  using Kind = HealthCheck::Kind;
  return {.kind = service.origin.tls ? Kind::kTls : Kind::kTcp, .interval = kRecoveryInterval, .rise = 1};
}

// Nine to eleven tenths: agents that were started together do not go on asking together.
Duration jittered(Duration interval, Random& random) {
  const auto spread = static_cast<uint64_t>(interval.count()) / 5;
  return interval * 9 / 10 + Duration(static_cast<Duration::rep>(random.below(spread + 1)));
}

Duration first_wait(Duration interval, Random& random) {
  const auto most = static_cast<uint64_t>(std::min(interval, kFirstWithin).count());
  return Duration(static_cast<Duration::rep>(random.below(most + 1)));
}

// Nobody is behind the connection: what the LOCAL command is for (PROXY protocol, 2.2).
Bytes local_proxy_header() {
  auto encoded = wire::encode_proxy_v2({.local = true, .source = {}, .destination = {}, .tlvs = {}});
  CHECK(encoded);
  return std::move(*encoded);
}

std::string host_of(const Service& service) {
  if (service.web() != nullptr && !service.web()->hostname.is_wildcard())
    return service.web()->hostname.text();
  if (service.origin.tls) return service.origin.tls->server_name;
  const auto* place = std::get_if<HostPort>(&service.origin.place);
  return place == nullptr ? "localhost" : place->to_string();
}

OriginFault bad_answer(std::string reason, std::string summary) {
  return {OriginFault::Kind::kBadAnswer, std::move(reason),
          "look into the log of the service, or correct the path of the health check", std::move(summary)};
}

net::Task<std::optional<OriginFault>> get(std::unique_ptr<net::ByteStream> stream, std::string host,
                                          std::string path, TimePoint deadline) {
  http::Request request{.method = "GET", .target = path, .headers = {}, .body = {}};
  request.headers.add("Host", host);
  request.headers.add("User-Agent", "culvert-health");
  request.headers.add("Accept", "*/*");
  request.headers.add("Connection", "close");
  http::Client client(*stream, http::H1Rules::kObserver);
  auto sent = co_await client.send(std::move(request), deadline);
  if (!sent) co_return bad_answer(sent.error().message, "it does not take a request");
  auto head = co_await client.read_head(deadline);
  stream->close();
  if (!head) {
    const bool is_late = head.error().code == ErrorCode::kTimeout;
    co_return bad_answer(fmt::format("GET {}: {}", path, head.error().message),
                         is_late ? "it does not answer in time" : "it does not answer in HTTP");
  }
  if (head->status >= 200 && head->status < 400) co_return std::nullopt;
  co_return bad_answer(
      fmt::format("GET {} is answered with status {} (expected 200 to 399)", path, head->status),
      fmt::format("it answers its health check with status {}", head->status));
}

}  // namespace

HealthChecks::HealthChecks(net::EventLoop& loop, const std::vector<Service>& services,
                           net::Lifetime& lifetime, HealthCheckCounters& counters, net::TaskGroup& tasks)
    : loop_(loop), services_(services), lifetime_(lifetime), counters_(counters), tasks_(tasks) {
  adopt_services();
}

void HealthChecks::start() {
  is_started_ = true;
  for (auto& [name, state] : states_) watch_if_due(state);
}

void HealthChecks::adopt_services() {
  std::map<std::string, State> before = std::exchange(states_, {});
  for (const Service& service : services_) {
    const auto old = before.find(service.name());
    const HealthCheck check = check_of(service);
    HealthJudge judge(check.fall, check.rise);
    if (old != before.end() && *old->second.service == service) judge = old->second.judge;
    states_.emplace(service.name(), State{.service = &service, .check = check, .judge = std::move(judge)});
  }
  // An edge would remember it for the next service of this name.
  for (const auto& [name, old] : before) {
    const auto now = states_.find(name);
    const bool is_over = !old.judge.is_healthy() && (now == states_.end() || now->second.judge.is_healthy());
    if (is_over && on_change_) on_change_({.service = name, .is_healthy = true, .reason = {}});
  }
}

void HealthChecks::services_changed() {
  adopt_services();
  if (is_started_) start();
}

void HealthChecks::observed(const Service& service, std::optional<OriginFault> fault) {
  if (State* state = find(&service)) saw(*state, std::move(fault), HealthJudge::Source::kClient);
}

// nullptr: the service is a former one.
HealthChecks::State* HealthChecks::find(const Service* service) {
  const auto state = states_.find(service->name());
  return state == states_.end() || state->second.service != service ? nullptr : &state->second;
}

void HealthChecks::saw(State& state, std::optional<OriginFault> fault, HealthJudge::Source source) {
  if (!state.judge.saw(std::move(fault), source)) return;
  const Service& service = *state.service;
  tunnel::Health health{.service = service.name(), .is_healthy = state.judge.is_healthy(), .reason = {}};
  if (health.is_healthy) {
    log_info("origin_healthy", "service={} origin={}", quoted(health.service), service.origin.to_string());
  } else {
    const OriginFault& why = *state.judge.fault();
    health.reason = why.summary;
    log_warn("origin_unhealthy", "service={} origin={} reason={} hint={}", quoted(health.service),
             service.origin.to_string(), quoted(why.reason), quoted(why.hint));
  }
  if (on_change_) on_change_(health);
  watch_if_due(state);
}

void HealthChecks::watch_if_due(State& state) {
  const bool is_due = state.service->health || !state.judge.is_healthy();
  if (!is_started_ || !is_due || std::exchange(state.is_watched, true)) return;
  Random& random = loop_.random();
  const Duration wait = state.service->health ? first_wait(state.check.interval, random)
                                              : jittered(state.check.interval, random);
  tasks_.spawn(watch(state.service, wait));
}

// Ends with its service, and without a check of the service's own as soon as the origin is reached.
net::Task<> HealthChecks::watch(const Service* service, Duration wait) {
  while (true) {
    co_await lifetime_.pause(wait);
    State* state = find(service);
    if (lifetime_.is_stopping() || state == nullptr) co_return;
    auto fault = co_await ask(service, state->check);
    state = find(service);
    if (lifetime_.is_stopping() || state == nullptr) co_return;
    ++(fault ? counters_.failed : counters_.passed);
    saw(*state, std::move(fault), HealthJudge::Source::kCheck);
    if (!service->health && state->judge.is_healthy()) {
      state->is_watched = false;
      co_return;
    }
    wait = jittered(state->check.interval, loop_.random());
  }
}

net::Task<std::optional<OriginFault>> HealthChecks::ask(const Service* service, HealthCheck check) {
  const TimePoint deadline = loop_.now() + check.timeout;
  Origin origin = service->origin;
  const bool is_passed_through = service->kind() == tunnel::StreamKind::kPassthrough;
  const bool is_tcp = check.kind == HealthCheck::Kind::kTcp;
  if (is_tcp) {
    origin.tls.reset();
  } else if (!origin.tls && (is_passed_through || check.kind == HealthCheck::Kind::kTls)) {
    if (!unchecked_) unchecked_ = tls::make_client_context({.is_insecure = true, .alpn = {"http/1.1"}});
    const bool has_name = is_passed_through && !service->web()->hostname.is_wildcard();
    origin.tls =
        OriginTls{.server_name = has_name ? service->web()->hostname.text() : "", .is_insecure = true};
    origin.tls->loaded = OriginTls::Loaded{unchecked_, {}};
  }
  Bytes proxy_header;
  if (service->proxy_protocol && !is_tcp) proxy_header = local_proxy_header();
  const bool is_sealed = origin.tls.has_value();
  auto reached = co_await reach(loop_, std::move(origin), is_sealed ? proxy_header : Bytes(),
                                check.kind == HealthCheck::Kind::kHttp, deadline);
  if (reached.fault) co_return std::move(*reached.fault);
  if (check.kind != HealthCheck::Kind::kHttp) {
    reached.stream->close();
    co_return std::nullopt;
  }
  if (!is_sealed && !proxy_header.empty()) {
    auto written = co_await net::write_all(*reached.stream, proxy_header, deadline);
    if (!written) co_return bad_answer(written.error().message, "it does not take a request");
  }
  co_return co_await get(std::move(reached.stream), host_of(*service), check.path, deadline);
}

std::optional<OriginFault> HealthChecks::fault(const Service& service) const {
  const auto state = states_.find(service.name());
  if (state == states_.end() || state->second.judge.is_healthy()) return std::nullopt;
  return state->second.judge.fault();
}

std::vector<tunnel::Health> HealthChecks::unhealthy() const {
  std::vector<tunnel::Health> all;
  for (const auto& [name, state] : states_) {
    if (state.judge.is_healthy()) continue;
    all.push_back({.service = name, .is_healthy = false, .reason = state.judge.fault()->summary});
  }
  return all;
}

}  // namespace culvert::origin
