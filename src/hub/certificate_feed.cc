#include "hub/certificate_feed.h"

#include <algorithm>
#include <utility>

namespace culvert::hub {
namespace {

std::string key_of(const std::string& certificate) { return "certificate " + certificate; }

// Of the JSON, where line ends are escaped.
size_t size_of(const hubapi::EdgeCertificate& certificate) {
  return certificate.chain.size() + certificate.chain.size() / 32 + 1024;
}
size_t size_of(const hubapi::EdgeChallenge& challenge) {
  return challenge.name.size() + challenge.token.size() + challenge.key_authorization.size() + 128;
}

}  // namespace

void CertificateFeed::put(hubapi::EdgeCertificate certificate) {
  std::string key = key_of(certificate.name);
  change(std::move(key), {.content = std::move(certificate)});
}

void CertificateFeed::put(hubapi::EdgeChallenge challenge) {
  std::string key = key_of(challenge);
  change(std::move(key), {.content = std::move(challenge)});
}

void CertificateFeed::remove_certificate(const std::string& name) {
  change(key_of(name),
         {.is_there = false,
          .content = hubapi::EdgeCertificate{.name = name, .chain = {}, .key = {}, .directory = {}}});
}

void CertificateFeed::remove(const hubapi::EdgeChallenge& challenge) {
  change(key_of(challenge), {.is_there = false, .content = challenge});
}

void CertificateFeed::change(std::string key, Item item) {
  const auto old = items_.find(key);
  if (old == items_.end() && !item.is_there) return;
  if (old != items_.end()) {
    if (old->second.is_there == item.is_there && (!item.is_there || old->second.content == item.content))
      return;
    order_.erase(old->second.version);
    if (!old->second.is_there) --removals_;
  }
  item.version = ++version_;
  if (!item.is_there) ++removals_;
  order_.emplace(item.version, key);
  items_.insert_or_assign(std::move(key), std::move(item));
  if (removals_ > kMaxRemovals) forget_removals();
  changed_.notify();
}

void CertificateFeed::forget_removals() {
  for (auto each = order_.begin(); each != order_.end() && removals_ > kMaxRemovals / 2;) {
    const auto item = items_.find(each->second);
    if (item->second.is_there) {
      ++each;
      continue;
    }
    floor_ = each->first;
    items_.erase(item);
    each = order_.erase(each);
    --removals_;
  }
}

bool CertificateFeed::is_behind(const hubapi::CertificateRequest& request) const {
  return request.epoch != epoch_ || request.version < version_;
}

hubapi::CertificateUpdate CertificateFeed::behind(const hubapi::CertificateRequest& request) const {
  const bool is_restart = request.epoch != epoch_ || request.version < floor_ || request.version > version_;
  hubapi::CertificateUpdate update{.epoch = epoch_,
                                   .version = is_restart ? 0 : request.version,
                                   .is_restart = is_restart,
                                   .is_complete = true};
  size_t bytes = 0;
  for (auto next = order_.upper_bound(update.version); next != order_.end(); ++next) {
    const Item& item = items_.at(next->second);
    if (const auto* certificate = std::get_if<hubapi::EdgeCertificate>(&item.content)) {
      bytes += size_of(*certificate);
      if (item.is_there) {
        update.certificates.push_back(*certificate);
      } else {
        update.removed_certificates.push_back(certificate->name);
      }
    } else {
      const auto& challenge = std::get<hubapi::EdgeChallenge>(item.content);
      bytes += size_of(challenge);
      (item.is_there ? update.challenges : update.removed_challenges).push_back(challenge);
    }
    update.version = next->first;
    if (bytes < kMaxBytes) continue;
    update.is_complete = std::next(next) == order_.end();
    break;
  }
  if (update.is_complete) update.version = version_;
  return update;
}

net::Task<std::optional<hubapi::CertificateUpdate>> CertificateFeed::next(
    EndpointId edge, hubapi::CertificateRequest request) {
  const uint64_t number = ++requests_;
  Follower& own = followers_[edge];
  own.has = request.epoch == epoch_ ? request.version : 0;
  own.request = number;
  own.is_waiting = true;
  own.challenges = request.challenges;
  changed_.notify();  // an earlier request of this edge ends
  confirmed_.notify();
  // Whichever way this ends.
  struct Waiting {
    CertificateFeed& feed;
    const EndpointId& edge;
    uint64_t number;
    ~Waiting() {
      Follower* own = feed.find(edge, number);
      if (own == nullptr) return;
      own->is_waiting = false;
      own->answered = feed.loop_.now();
      feed.confirmed_.notify();
    }
  } waiting{*this, edge, number};
  const auto is_over = [&] { return is_closed_ || find(edge, number) == nullptr; };
  const TimePoint deadline = loop_.now() + kWait;
  const bool has_to_wait = !is_behind(request);
  bool in_time = true;
  while (in_time && !is_over() && !is_behind(request)) in_time = co_await changed_.wait_until(deadline);
  if (has_to_wait && in_time && !is_over()) co_await net::sleep_for(loop_, kDelay);
  if (is_over()) co_return std::nullopt;
  co_return behind(request);
}

CertificateFeed::Follower* CertificateFeed::find(const EndpointId& edge, uint64_t request) {
  const auto follower = followers_.find(edge);
  return follower == followers_.end() || follower->second.request != request ? nullptr : &follower->second;
}

net::Task<bool> CertificateFeed::taken_by_all(TimePoint deadline) {
  const uint64_t wanted = version_;
  const auto is_taken = [&] {
    return std::ranges::all_of(
        followers_, [&](const auto& each) { return !is_live(each.second) || each.second.has >= wanted; });
  };
  while (!is_closed_ && !is_taken()) {
    // One that does not ask again is not waited for.
    const TimePoint look = std::min(deadline, loop_.now() + kSilence);
    const bool is_news = co_await confirmed_.wait_until(look);
    if (!is_news && loop_.now() >= deadline) co_return is_taken();
  }
  co_return !is_closed_;
}

bool CertificateFeed::is_live(const Follower& follower) const {
  return follower.is_waiting ||
         (follower.answered != TimePoint{} && loop_.now() < follower.answered + kSilence);
}

bool CertificateFeed::is_following(const EndpointId& edge) const {
  const auto follower = followers_.find(edge);
  return follower != followers_.end() && is_live(follower->second);
}

size_t CertificateFeed::following() const {
  return static_cast<size_t>(
      std::ranges::count_if(followers_, [this](const auto& each) { return is_live(each.second); }));
}

bool CertificateFeed::all_answer(const std::string& type) const {
  return std::ranges::all_of(followers_, [&](const auto& each) {
    return !is_live(each.second) ||
           std::ranges::find(each.second.challenges, type) != each.second.challenges.end();
  });
}

void CertificateFeed::revoke(const EndpointId& edge) {
  if (followers_.erase(edge) == 0) return;
  changed_.notify();  // its request ends
  confirmed_.notify();
}

void CertificateFeed::close() {
  is_closed_ = true;
  changed_.notify();
  confirmed_.notify();
}

}  // namespace culvert::hub
