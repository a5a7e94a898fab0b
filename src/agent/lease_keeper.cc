#include "agent/lease_keeper.h"

#include <algorithm>

#include "agent/refusal.h"
#include "base/log.h"

namespace culvert::agent {

LeaseKeeper::LeaseKeeper(net::EventLoop& loop, const Config& config, const SecretKey& key, Lifetime& lifetime,
                         AgentObserver& observer, Random& random)
    : config_(config),
      key_(key),
      lifetime_(lifetime),
      observer_(observer),
      random_(random),
      hub_(loop, hubapi::hub_urls(config.token), config.token.hub_key),
      wanted_(loop),
      changed_(loop) {}

hubapi::Declaration LeaseKeeper::declaration() const {
  hubapi::Declaration out{config_.token.invite_id, config_.token.invite_secret, key_.public_key(), {}};
  for (const Service& service : config_.services)
    out.services.push_back({service.hostname, service.tls_mode});
  return out;
}

net::Task<> LeaseKeeper::run() {
  Backoff backoff;
  RetryCap cap;
  while (!lifetime_.is_stopping()) {
    is_wanted_ = false;
    const uint64_t number = ++begun_;
    auto answer = co_await hub_.declare(config_.token, declaration());
    if (lifetime_.is_stopping()) break;
    if (!answer) {
      failed(answer.error());
      co_await lifetime_.pause(backoff.next(random_, cap.after(answer.error())));
      continue;
    }
    backoff.reset();
    cap.reset();
    const TimePoint renew_at = monotonic_now() + answer->renew_after;
    adopt(std::move(*answer), number);
    while (!lifetime_.is_stopping() && !is_wanted_ && monotonic_now() < renew_at)
      co_await wanted_.wait_until(renew_at);
  }
}

net::Task<bool> LeaseKeeper::renew() {
  const uint64_t latest = begun_;
  is_wanted_ = true;
  wanted_.notify();
  while (!lifetime_.is_stopping() && granted_ <= latest) co_await changed_.wait();
  co_return !lifetime_.is_stopping();
}

void LeaseKeeper::stop() {
  wanted_.notify();
  changed_.notify();
}

const hubapi::EdgeInfo* LeaseKeeper::find_edge(const EndpointId& edge) const {
  if (!lease_) return nullptr;
  auto found = std::ranges::find(lease_->edges, edge, &hubapi::EdgeInfo::id);
  return found == lease_->edges.end() ? nullptr : &*found;
}

bool LeaseKeeper::is_accepted(const Service& service) const {
  return lease_ && std::ranges::none_of(lease_->services, [&service](const hubapi::ServiceVerdict& verdict) {
           return !verdict.accepted && verdict.hostname == service.hostname.text();
         });
}

void LeaseKeeper::adopt(hubapi::LeaseAnswer answer, uint64_t number) {
  std::string refusals;
  for (const hubapi::ServiceVerdict& verdict : answer.services) {
    if (verdict.accepted) continue;
    refusals += fmt::format("{}the hub does not accept {}: {}", refusals.empty() ? "" : "; ",
                            verdict.hostname, verdict.reason);
  }
  if (refusals.empty()) {
    last_refusal_.clear();
  } else {
    refused(ErrorCode::kConflict, std::move(refusals));
  }
  if (!lease_) {
    auto accepted = std::ranges::count(answer.services, true, &hubapi::ServiceVerdict::accepted);
    log_info("lease_granted", "tenant={} accepted={} declared={} edges={}", answer.tenant.short_text(),
             accepted, config_.services.size(), answer.edges.size());
  }
  lease_ = std::move(answer);
  granted_ = number;
  observer_.lease_granted(*lease_);
  changed_.notify();
  if (lease_->edges.empty()) {
    refused(ErrorCode::kUnavailable, "the hub names no edge to connect to; set edge-addr on the node");
  }
  if (on_granted_) on_granted_();
}

void LeaseKeeper::failed(const Error& error) {
  if (is_refusal(error)) return refused(error.code, error.message);
  if (error.message == last_refusal_) return;
  last_refusal_ = error.message;
  log_warn("hub_unreachable", "reason={}", quoted(error.message));
}

// Reported once until something else happens: the agent continues to ask, slowly.
void LeaseKeeper::refused(ErrorCode code, std::string message) {
  if (message == last_refusal_) return;
  last_refusal_ = message;
  observer_.refused(Error{code, std::move(message)});
}

}  // namespace culvert::agent
