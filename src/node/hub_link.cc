#include "node/hub_link.h"

#include <utility>

#include "base/log.h"

namespace culvert::node {
namespace {

constexpr Duration kReportInterval = std::chrono::seconds(2);
// A stream that stood for so long was none that broke at once.
constexpr Duration kLasting = std::chrono::seconds(10);
// A hub that does not know the edge, or knows another process as it, will not change its mind by itself.
constexpr Duration kRefusedPause = std::chrono::seconds(30);
constexpr Duration kFileRetry = std::chrono::minutes(1);

}  // namespace

HubLink::HubLink(net::EventLoop& loop, Parts parts)
    : loop_(loop),
      parts_(std::move(parts)),
      run_(parts_.run.empty() ? fmt::format("{:016x}", loop.random().u64()) : parts_.run),
      client_(loop, parts_.token, run_),
      file_(parts_.route_file),
      ending_(loop),
      report_now_(loop),
      goodbye_(loop),
      tasks_(loop) {
  replica_.emplace(parts_.token.hub_key);
}

void HubLink::start() {
  parts_.hub_is_heard(false);
  load();
  tasks_.spawn(follow());
  tasks_.spawn(report());
}

void HubLink::load() {
  if (parts_.route_file.empty()) return;
  auto loaded = file_.load(*replica_);
  if (!loaded) {
    replica_.emplace(parts_.token.hub_key);
    if (loaded.error().code != ErrorCode::kNotFound) {
      ++counters_.file_errors;
      log_warn("routes_not_loaded", "reason={}", culvert::quoted(loaded.error().message));
    }
    return;
  }
  heard_at_ = file_.written_at();
  log_info("routes_loaded", "routes={} path={}", replica_->routes()->size(),
           culvert::quoted(parts_.route_file.native()));
  parts_.replace_routes(replica_->routes());
}

void HubLink::agent_left(const EndpointId& agent) {
  reporter_.left(agent);
  report_now_.notify();
}

void HubLink::tunnel_closed(const EndpointId& agent) {
  reporter_.closed(agent);
  report_now_.notify();
}

void HubLink::leave() {
  if (std::exchange(is_ending_, true)) return;
  ending_.notify();
  report_now_.notify();
  client_.close();
  goodbye_.spawn(say_goodbye());
}

void HubLink::close() {
  is_ending_ = true;
  ending_.notify();
  report_now_.notify();
  client_.close();
  tasks_.cancel();
}

net::Task<> HubLink::join() {
  co_await tasks_.join();
  co_await goodbye_.join();
}

net::Task<> HubLink::say_goodbye() {
  hubapi::EdgeAnnouncement goodbye = parts_.announcement;
  goodbye.is_leaving = true;
  hubapi::EdgeClient client(loop_, parts_.token, run_);
  auto told = co_await client.announce(std::move(goodbye));
  if (!told) log_warn("hub_not_told", "reason={}", culvert::quoted(told.error().message));
}

net::Task<> HubLink::follow() {
  Backoff backoff;
  while (!is_ending_) {
    auto welcome = co_await client_.announce(parts_.announcement);
    if (is_ending_) break;
    TimePoint began = loop_.now();
    Result<> ended;
    if (!welcome) {
      ended = std::unexpected(welcome.error());
    } else {
      welcome_ = std::move(*welcome);
      ++counters_.connects;
      batch_.clear();
      replica_->restart();
      reporter_.restart();
      const auto held = std::exchange(wants_snapshot_, false) ? std::nullopt : replica_->held();
      began = loop_.now();
      ended = co_await client_.follow(held, [this](std::string_view line) { return take(line); });
      if (std::exchange(counters_.is_following, false)) turned_at_ = loop_.unix_now();
      parts_.hub_is_heard(false);
      if (is_ending_) break;
    }
    const bool is_revoked = ended.error().code == ErrorCode::kNotFound;
    const bool was_refused = std::exchange(is_refused_, ended.error().code == ErrorCode::kUnauthorized);
    if (is_refused_ != was_refused) turned_at_ = loop_.unix_now();
    if (is_revoked) forget_all();
    if (ended.error().code == ErrorCode::kConflict) wants_snapshot_ = true;
    if (wants_snapshot_ || loop_.now() - began >= kLasting) backoff.reset();
    if (!wants_snapshot_) failed(ended.error());
    const Duration pause = is_revoked || is_refused_ ? kRefusedPause : backoff.next(loop_.random());
    co_await ending_.wait_until(loop_.now() + pause);
  }
}

Result<> HubLink::take(std::string_view line) {
  if (!std::exchange(counters_.is_following, true)) {
    parts_.hub_is_heard(true);
    failure_.reset();
    is_revoked_ = is_refused_ = false;
    turned_at_ = loop_.unix_now();
    log_info("hub_followed", "hub={}", parts_.token.hub_key.short_text());
    report_now_.notify();
  }
  auto event = replica_->take(line);
  if (!event) return std::unexpected(event.error());
  batch_ += line;
  batch_ += '\n';
  auto taken = take_event(*event);
  if (!taken) return taken;
  if (replica_->seal()) heard_at_ = loop_.unix_now();
  // Signs of life are not kept.
  if (replica_->is_at_seal()) batch_.clear();
  return {};
}

Result<> HubLink::take_event(const hubapi::RouteReplica::Event& event) {
  if (const auto* declare = std::get_if<hubapi::DeclareAgain>(&event)) {
    parts_.declare_again(declare->spread);
  } else if (std::holds_alternative<hubapi::RouteReplica::Replaced>(event)) {
    ++counters_.snapshots;
    keep(true);
    parts_.replace_routes(replica_->routes());
    log_info("routes_replaced", "routes={}", replica_->routes()->size());
  } else if (const auto* delta = std::get_if<route::Delta>(&event)) {
    ++counters_.changes;
    keep(false);
    parts_.apply_routes(*delta);
  }
  if (file_.is_long() || loop_.now() >= file_retry_) {
    wants_snapshot_ = true;
    file_retry_ = TimePoint::max();
    return fail(ErrorCode::kUnavailable, "the routes are asked for anew");
  }
  return {};
}

// A file that cannot be written is older than what is served, and still the hub's word.
void HubLink::keep(bool is_snapshot) {
  if (!is_snapshot && file_retry_ != TimePoint::max()) return;
  auto kept = is_snapshot ? file_.replace(batch_) : file_.append(batch_);
  if (kept) return;
  ++counters_.file_errors;
  file_retry_ = loop_.now() + kFileRetry;
  if (!lines_.allow(loop_.now())) return;
  log_error("routes_not_kept", "reason={} meaning={}", culvert::quoted(kept.error().message),
            culvert::quoted("they are served; a restart without the hub would serve older ones"));
}

void HubLink::forget_all() {
  if (std::exchange(is_revoked_, true)) return;
  replica_.emplace(parts_.token.hub_key);
  heard_at_.reset();
  turned_at_ = loop_.unix_now();
  file_.remove();
  parts_.replace_routes(replica_->routes());
}

void HubLink::failed(const Error& error) {
  failure_ = error;
  if (!lines_.allow(loop_.now())) return;
  if (is_revoked_) {
    log_error("edge_revoked", "reason={}", culvert::quoted(error.message));
  } else if (is_refused_) {
    log_error("edge_refused", "routes={} reason={} meaning={}", replica_->routes()->size(),
              culvert::quoted(error.message),
              culvert::quoted("the edge serves the routes that it has, and agents are not sent to it"));
  } else {
    log_warn("hub_lost", "routes={} reason={} meaning={}", replica_->routes()->size(),
             culvert::quoted(error.message), culvert::quoted("the edge serves the routes that it has"));
  }
}

net::Task<> HubLink::report() {
  while (!is_ending_) {
    while (!is_ending_ && counters_.is_following) {
      auto next = reporter_.next(loop_.now(), loop_.random().u64() >> 1);
      if (!next) break;
      auto taken = co_await client_.report(std::move(*next));
      if (taken) {
        reporter_.confirmed();
        continue;
      }
      reporter_.restart();
      log_debug("report_refused", "reason={}", culvert::quoted(taken.error().message));
      if (taken.error().code != ErrorCode::kConflict) break;
    }
    co_await report_now_.wait_until(loop_.now() + kReportInterval);
  }
}

std::optional<std::string> HubLink::fault() const {
  if (is_revoked_) return fmt::format("the hub has revoked this edge: {}", failure_->message);
  if (is_refused_) return fmt::format("the hub refuses this edge: {}", failure_->message);
  if (replica_->seal()) return std::nullopt;
  return failure_ ? fmt::format("the hub has given no routes yet: {}", failure_->message)
                  : "the hub has given no routes yet";
}

EdgeStatus HubLink::status() const {
  EdgeStatus status{.id = parts_.token.edge_key.public_key().to_string(),
                    .name = welcome_.name,
                    .region = welcome_.region,
                    .addresses = parts_.announcement.addresses,
                    .hub_urls = parts_.token.hub_urls,
                    .hub_since = turned_at_,
                    .routes = replica_->routes()->size(),
                    .routes_as_of = heard_at_,
                    .are_routes_kept = file_retry_ == TimePoint::max()};
  if (is_refused_) status.hub = EdgeStatus::Hub::kRefused;
  if (is_revoked_) status.hub = EdgeStatus::Hub::kRevoked;
  if (counters_.is_following) status.hub = EdgeStatus::Hub::kFollowed;
  if (failure_) status.hub_reason = failure_->message;
  if (const auto& seal = replica_->seal()) status.routes_version = seal->at;
  return status;
}

HubLink::Counters HubLink::counters() const {
  Counters counters = counters_;
  counters.routes = replica_->routes()->size();
  return counters;
}

void report(const HubLink::Counters& counters, Metrics& metrics) {
  metrics.gauge("culvert_edge_hub_followed", "1 while the edge follows its hub, 0 while no hub answers.",
                counters.is_following ? 1 : 0);
  metrics.gauge("culvert_edge_routes", "Routes that the edge has.", static_cast<double>(counters.routes));
  metrics.counter("culvert_edge_hub_connects_total", "Streams of routes that the edge has begun.",
                  counters.connects);
  metrics.counters("culvert_edge_route_updates_total", "Versions of the routes taken from the hub, by kind.",
                   "kind", {{"snapshot", counters.snapshots}, {"change", counters.changes}});
  metrics.counter("culvert_edge_route_file_errors_total",
                  "Times that the routes on the disk could not be read or written.", counters.file_errors);
}

}  // namespace culvert::node
