#include "node/edge_certificates.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <utility>

#include "base/backoff.h"
#include "base/hostname.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::node {
namespace {

// A hub that does not know the edge, or has no certificates, will not change its mind by itself.
constexpr Duration kRefusedPause = std::chrono::seconds(30);
// Files are small, and the loop has other work in between.
constexpr size_t kKeptAtOnce = 8;
constexpr Duration kKeepPause = std::chrono::milliseconds(1);

}  // namespace

Result<std::unique_ptr<EdgeCertificates>> EdgeCertificates::open(net::EventLoop& loop, Parts parts) {
  std::optional<acme::FileStore> store;
  if (!parts.directory.empty()) {
    auto opened = acme::FileStore::open(parts.directory);
    if (!opened) return std::unexpected(opened.error());
    store = std::move(*opened);
  }
  return std::unique_ptr<EdgeCertificates>(new EdgeCertificates(loop, std::move(parts), std::move(store)));
}

EdgeCertificates::EdgeCertificates(net::EventLoop& loop, Parts parts, std::optional<acme::FileStore> store)
    : loop_(loop),
      parts_(std::move(parts)),
      store_(std::move(store)),
      client_(loop, parts_.token, parts_.run),
      ending_(loop),
      tasks_(loop) {
  for (const acme::ChallengeType type : parts_.challenges_answered)
    next_.challenges.emplace_back(acme::to_string(type));
  load();
}

void EdgeCertificates::load() {
  if (!store_) return;
  auto names = store_->names();
  if (!names) {
    log_error("certificates_not_loaded", "reason={}", culvert::quoted(names.error().message));
    return;
  }
  for (const std::string& name : *names) {
    auto record = store_->load(name);
    if (!record) {
      log_error("certificates_not_loaded", "reason={}", culvert::quoted(record.error().message));
    } else if (*record && (*record)->certificate) {
      serve(name, std::move(*(*record)->certificate));
    }
  }
  unkept_.clear();  // it came from there
  log_info("certificates_loaded", "names={}", held_.size());
}

void EdgeCertificates::drain() {
  is_ending_ = true;
  ending_.notify();
  client_.close();
}

net::Task<> EdgeCertificates::follow_hub() {
  Backoff backoff;
  while (!is_ending_) {
    auto update = co_await client_.certificates(next_);
    if (is_ending_) break;
    if (update) {
      take(std::move(*update));
      backoff.reset();
      continue;
    }
    const ErrorCode code = update.error().code;
    const bool is_revoked = code == ErrorCode::kNotFound;
    if (is_revoked) forget_all();
    log_debug("certificates_not_followed", "reason={}", culvert::quoted(update.error().message));
    const bool is_refused = is_revoked || code == ErrorCode::kUnauthorized || code == ErrorCode::kInvalid;
    const Duration pause = is_refused ? kRefusedPause : backoff.next(loop_.random());
    const bool notified = co_await ending_.wait_until(loop_.now() + pause);
    (void)notified;
  }
}

void EdgeCertificates::take(hubapi::CertificateUpdate update) {
  if (update.is_restart) {
    is_restarting_ = true;
    seen_.clear();
    seen_challenges_.clear();
  }
  for (const std::string& name : update.removed_certificates) remove(name);
  for (const hubapi::EdgeChallenge& challenge : update.removed_challenges) withdraw(challenge);
  for (hubapi::EdgeCertificate& each : update.certificates) {
    if (is_restarting_) seen_.insert(each.name);
    serve(
        each.name,
        {.chain = std::move(each.chain), .key = std::move(each.key), .directory = std::move(each.directory)});
  }
  for (const hubapi::EdgeChallenge& challenge : update.challenges) {
    if (is_restarting_) seen_challenges_.insert(key_of(challenge));
    answer(challenge);
  }
  if (update.is_complete && std::exchange(is_restarting_, false)) {
    for (auto next = held_.begin(); next != held_.end();) {
      const std::string name = (next++)->first;
      if (!seen_.contains(name)) remove(name);
    }
    for (auto next = answered_.begin(); next != answered_.end();) {
      if (!seen_challenges_.contains(next->first)) {
        parts_.challenges->remove(next->second);
        next = answered_.erase(next);
      } else {
        ++next;
      }
    }
    seen_.clear();
    seen_challenges_.clear();
  }
  next_.epoch = std::move(update.epoch);
  next_.version = update.version;
  if (!store_) unkept_.clear();
  if (!unkept_.empty() && !std::exchange(is_keeping_, true)) tasks_.spawn(keep());
}

void EdgeCertificates::forget_all() {
  next_.epoch.clear();
  next_.version = 0;
  hubapi::CertificateUpdate nothing{.is_restart = true, .is_complete = true};
  take(std::move(nothing));
}

void EdgeCertificates::serve(const std::string& name, acme::StoredCertificate stored) {
  const auto old = held_.find(name);
  if (old != held_.end() && old->second.stored.chain == stored.chain) return;
  auto usable = is_hostname_or_wildcard(name) ? acme::make_usable(stored, name)
                                              : fail(ErrorCode::kInvalid, "it is for no hostname");
  if (!usable) {
    log_error("acme_certificate_unusable", "name={} error={}", culvert::quoted(name),
              culvert::quoted(usable.error().message));
    return;
  }
  const acme::Validity validity = usable->validity();
  if (loop_.unix_now() >= validity.not_after) return;
  parts_.certificates->put(name, std::move(usable->identity));
  held_.insert_or_assign(name, Held{.stored = std::move(stored), .validity = validity});
  unkept_.insert(name);
}

void EdgeCertificates::remove(const std::string& name) {
  if (held_.erase(name) == 0) return;
  parts_.certificates->remove(name);
  unkept_.insert(name);
}

void EdgeCertificates::answer(const hubapi::EdgeChallenge& challenge) {
  const auto type = acme::parse_challenge_type(challenge.type);
  if (!type || !is_hostname_or_wildcard(challenge.name) || !acme::is_challenge_token(challenge.token)) return;
  acme::Challenge pending{.type = *type,
                          .name = challenge.name,
                          .token = challenge.token,
                          .key_authorization = challenge.key_authorization};
  auto added = parts_.challenges->add(pending, loop_.unix_now());
  if (!added) {
    log_error("acme_challenge_lost", "name=\"{}\" reason={}", challenge.name,
              culvert::quoted(added.error().message));
    return;
  }
  answered_.insert_or_assign(key_of(challenge), std::move(pending));
}

void EdgeCertificates::withdraw(const hubapi::EdgeChallenge& challenge) {
  const auto pending = answered_.extract(key_of(challenge));
  if (!pending.empty()) parts_.challenges->remove(pending.mapped());
}

net::Task<> EdgeCertificates::keep() {
  while (!is_ending_ && !unkept_.empty()) {
    for (size_t i = 0; i < kKeptAtOnce && !unkept_.empty(); ++i) {
      const std::string name = std::move(unkept_.extract(unkept_.begin()).value());
      const auto held = held_.find(name);
      auto kept = held == held_.end()
                      ? store_->remove(name)
                      : store_->save({.name = name, .progress = {}, .certificate = held->second.stored});
      if (!kept) {
        log_error("certificate_not_kept", "name=\"{}\" reason={} meaning={}", name,
                  culvert::quoted(kept.error().message),
                  culvert::quoted("it is served; a restart without the hub would not have it"));
      }
    }
    co_await net::sleep_for(loop_, kKeepPause);
  }
  is_keeping_ = false;
}

std::vector<std::string> EdgeCertificates::faults() const {
  constexpr size_t kMaxNamed = 10;
  std::vector<std::string> faults;
  for (const auto& [name, held] : held_) {
    if (loop_.unix_now() < held.validity.not_after || faults.size() >= kMaxNamed) continue;
    faults.push_back(fmt::format(
        "the certificate of {} has expired at {:%Y-%m-%d %H:%M} UTC; the hub renews it, see `culvert "
        "certificate list` there",
        name, held.validity.not_after));
  }
  return faults;
}

acme::Manager::Totals EdgeCertificates::totals() const {
  acme::Manager::Totals totals;
  const UnixTime now = loop_.unix_now();
  for (const auto& [name, held] : held_) totals.count(held.validity, now);
  return totals;
}

}  // namespace culvert::node
