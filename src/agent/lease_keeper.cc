#include "agent/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "agent/refusal.h"
#include "agent/verdict.h"
#include "base/log.h"

namespace culvert::agent {

namespace {

// Until the lease has to be renewed, or a service may be accepted that was refused.
Duration next_declaration(const hubapi::LeaseAnswer& answer) {
  Duration wait = answer.renew_after;
  for (const Verdict& verdict : verdicts(answer)) {
    if (verdict.retry_after) wait = std::min<Duration>(wait, *verdict.retry_after);
  }
  return wait;
}

}  // namespace

LeaseKeeper::LeaseKeeper(net::EventLoop& loop, const Config& config, const SecretKey& key,
                         net::Lifetime& lifetime, AgentObserver& observer, Random& random, Counters& counters)
    : loop_(loop),
      config_(config),
      key_(key),
      lifetime_(lifetime),
      observer_(observer),
      random_(random),
      counters_(counters),
      hub_(loop, hubapi::parse_hub_urls(config.token.hub_urls), config.token.hub_key),
      wanted_(loop),
      soon_(loop),
      changed_(loop) {}

hubapi::Declaration LeaseKeeper::declaration() const {
  hubapi::Declaration out{config_.token.invite_id, config_.token.invite_secret, key_.public_key(), {}};
  for (const Service& service : config_.services) {
    if (const auto* port = service.port()) {
      out.ports.push_back(*port);
    } else {
      out.services.push_back(*service.web());
    }
  }
  out.is_exclusive = config_.options.is_exclusive;
  return out;
}

net::Task<> LeaseKeeper::run() {
  Backoff backoff;
  RetryCap cap;
  while (!lifetime_.is_stopping()) {
    is_wanted_ = false;
    const uint64_t number = ++begun_;
    auto answer = co_await hub_.declare(config_.token, declaration(), key_);
    if (lifetime_.is_stopping()) break;
    report_clock();
    if (!answer) {
      failed(answer.error());
      co_await lifetime_.pause(backoff.next(random_, cap.after(answer.error())));
      continue;
    }
    backoff.reset();
    cap.reset();
    const TimePoint renew_at = loop_.now() + next_declaration(*answer);
    adopt(std::move(*answer), number);
    while (!lifetime_.is_stopping() && !is_wanted_ && loop_.now() < renew_at)
      co_await wanted_.wait_until(renew_at);
  }
}

net::Task<bool> LeaseKeeper::renew() {
  const uint64_t latest = begun_;
  is_wanted_ = true;
  wanted_.notify();
  while (!lifetime_.is_stopping() && granted_ <= latest && !(lease_ && is_unanswered_))
    co_await changed_.wait();
  co_return !lifetime_.is_stopping();
}

void LeaseKeeper::renew_within(Duration spread) {
  if (std::exchange(is_wanted_soon_, true)) return;
  const auto steps = static_cast<uint64_t>(std::max<Duration>(spread, Duration(1)).count());
  soon_.after(Duration(static_cast<Duration::rep>(random_.below(steps))), [this] {
    is_wanted_soon_ = false;
    declare_again();
  });
}

void LeaseKeeper::declare_again() {
  is_wanted_ = true;
  wanted_.notify();
}

void LeaseKeeper::stop() {
  soon_.cancel();
  wanted_.notify();
  changed_.notify();
}

const hubapi::EdgeInfo* LeaseKeeper::find_edge(const EndpointId& edge) const {
  if (!lease_) return nullptr;
  auto found = std::ranges::find(lease_->edges, edge, &hubapi::EdgeInfo::id);
  return found == lease_->edges.end() ? nullptr : &*found;
}

bool LeaseKeeper::is_accepted(const Service& service) const {
  if (!lease_) return false;
  const auto verdict = verdict_of(*lease_, service);
  return !verdict || verdict->is_accepted;
}

std::optional<std::string> LeaseKeeper::fault() const {
  if (is_refused_) return fmt::format("the hub refuses the declaration: {}", failure_->message);
  if (!lease_) return failure_ ? failure_->message : "the hub has not answered yet";
  if (is_suspended()) return "the hub's operator has suspended this tenant";
  const std::vector<Verdict> all = verdicts(*lease_);
  if (std::ranges::any_of(all, &Verdict::is_accepted)) return std::nullopt;
  return all.empty() ? "the hub's answer names no service"
                     : fmt::format("the hub accepts none of the services: {}", all.front().reason);
}

void LeaseKeeper::adopt(hubapi::LeaseAnswer answer, uint64_t number) {
  ++counters_.declarations_granted;
  is_unanswered_ = false;
  failure_.reset();
  is_refused_ = false;
  if (auto elapsed = silence_.ended(loop_.now())) observer_.hub_reached(*elapsed);
  const bool is_first = !lease_;
  const bool was_suspended = is_suspended();
  lease_ = std::move(answer);
  granted_ = number;
  report_refusals();
  if (is_first) {
    auto accepted = std::ranges::count(verdicts(*lease_), true, &Verdict::is_accepted);
    log_info("lease_granted", "tenant={} accepted={} declared={} edges={}", lease_->tenant.short_text(),
             accepted, config_.services.size(), lease_->edges.size());
  }
  observer_.lease_granted(*lease_);
  if (is_suspended() != was_suspended) observer_.suspended(is_suspended());
  report_shared();
  changed_.notify();
  if (lease_->edges.empty()) {
    refused({{ErrorCode::kUnavailable,
              "the hub has no edge now, so the services cannot be reached; start one with `culvert edge`"},
             true});
  }
  if (on_granted_) on_granted_();
}

void LeaseKeeper::report_refusals() {
  HubRefusal refusal{{ErrorCode::kConflict, ""}, true};
  for (const Verdict& verdict : verdicts(*lease_)) {
    if (verdict.is_accepted) continue;
    refusal.is_temporary = refusal.is_temporary && verdict.retry_after.has_value();
    refusal.error.message +=
        fmt::format("{}the hub does not accept {}: {}", refusal.error.message.empty() ? "" : "; ",
                    verdict.service, verdict.reason);
  }
  if (refusal.error.message.empty()) {
    last_refusal_.clear();
  } else {
    refused(refusal);
  }
}

// Reported again only after the agent was alone in between.
void LeaseKeeper::report_shared() {
  for (const Verdict& verdict : verdicts(*lease_)) {
    const size_t before = std::exchange(others_[verdict.service], verdict.others);
    if (before == 0 && verdict.others > 0) observer_.shared(verdict.service, verdict.others);
  }
}

void LeaseKeeper::report_clock() {
  auto warning = hub_.clock_warning();
  const bool was_reported = std::exchange(clock_reported_, warning.has_value());
  if (warning && !was_reported) observer_.clock_differs(*warning);
}

void LeaseKeeper::failed(const Error& error) {
  if (is_refusal(error)) {
    ++counters_.declarations_refused;
    is_unanswered_ = false;
    is_refused_ = true;
    failure_ = error;
    if (auto elapsed = silence_.ended(loop_.now())) observer_.hub_reached(*elapsed);
    return refused({error});
  }
  ++counters_.declarations_unanswered;
  is_unanswered_ = true;
  changed_.notify();
  if (!is_refused_) failure_ = error;
  if (auto elapsed = silence_.failed(error.message, loop_.now())) observer_.hub_unreachable(error, *elapsed);
}

// Reported once until something else happens: the agent continues to ask, slowly.
void LeaseKeeper::refused(const HubRefusal& refusal) {
  if (refusal.error.message == last_refusal_) return;
  last_refusal_ = refusal.error.message;
  observer_.refused(refusal);
}

}  // namespace culvert::agent
