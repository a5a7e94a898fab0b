#include "node/public_certificates.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/socket_addr.h"

namespace culvert::node {

Result<std::unique_ptr<PublicCertificates>> PublicCertificates::open(net::EventLoop& loop, Parts parts) {
  auto store = acme::FileStore::open(parts.directory);
  if (!store) return std::unexpected(store.error());
  return std::unique_ptr<PublicCertificates>(
      new PublicCertificates(loop, std::move(parts), std::move(*store)));
}

PublicCertificates::PublicCertificates(net::EventLoop& loop, Parts parts, acme::FileStore store)
    : loop_(loop),
      parts_(std::move(parts)),
      store_(std::move(store)),
      answerer_(loop, parts_),
      manager_(loop, parts_.manager, store_, answerer_,
               [this](const std::string& name, tls::IdentityPtr identity) {
                 parts_.certificates->put(name, std::move(identity));
               }),
      tasks_(loop) {}

bool PublicCertificates::Answerer::can_answer(acme::ChallengeType type, const std::string& name) const {
  if (type != acme::ChallengeType::kDns01) return edge_.can_answer(type, name);
  return dns_ != nullptr && dns_->can_answer(name);
}

net::Task<Result<>> PublicCertificates::Answerer::publish(acme::Challenge challenge) {
  if (challenge.type == acme::ChallengeType::kDns01)
    return dns_->put(challenge.dns_name(), challenge.dns_text());
  return edge_.publish(std::move(challenge));
}

void PublicCertificates::Answerer::withdraw(const acme::Challenge& challenge) {
  if (challenge.type == acme::ChallengeType::kDns01) {
    dns_->remove(challenge.dns_name(), challenge.dns_text());
  } else {
    edge_.withdraw(challenge);
  }
}

void PublicCertificates::want_own(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (parse_ip(name) || !name.contains('.')) continue;
    own_.insert(name);
    want(name, "");
  }
}

// A wildcard is proven by DNS alone.
bool PublicCertificates::is_wanted(const route::Route& route) const {
  const route::HostPattern* hostname = route.match.hostname();
  if (hostname == nullptr || route.tls_mode != route::TlsMode::kTerminate) return false;
  if (route.targets.empty() || route.is_suspended || route.is_over(loop_.unix_now())) return false;
  if (!hostname->is_wildcard()) return true;
  const std::string below = hostname->text().substr(std::string_view("*.").size());
  return answerer_.can_answer(acme::ChallengeType::kDns01, below);
}

void PublicCertificates::follow(const route::Delta& changes) {
  for (const route::RouteId& removed : changes.removals) unwant(removed.text());
  for (const route::Route& changed : changes.upserts) {
    const std::string& name = changed.match.text();
    if (is_wanted(changed)) {
      wanted_.insert(name);
      want(name, changed.tenant.to_string());
    } else {
      unwant(name);
    }
  }
}

void PublicCertificates::replace(const route::Snapshot& routes) {
  std::set<std::string> gone = wanted_;
  for (const route::Route* route : routes.routes()) {
    if (!is_wanted(*route)) continue;
    gone.erase(route->match.text());
    wanted_.insert(route->match.text());
    want(route->match.text(), route->tenant.to_string());
  }
  for (const std::string& name : gone) unwant(name);
}

void PublicCertificates::want(const std::string& name, const std::string& tenant) {
  auto wanted = manager_.want(name, tenant);
  if (!wanted) {
    log_warn("certificate_not_ordered", "host={} reason={}", culvert::quoted(name),
             culvert::quoted(wanted.error().message));
  }
}

void PublicCertificates::unwant(const std::string& name) {
  if (wanted_.erase(name) == 0 || own_.contains(name)) return;
  manager_.unwant(name);
  parts_.certificates->remove(name);
}

void PublicCertificates::start() { tasks_.spawn(manager_.run()); }

void PublicCertificates::close() { manager_.stop(); }

std::vector<std::string> PublicCertificates::faults() const {
  std::vector<std::string> faults;
  for (const acme::Manager::Status& status : manager_.statuses()) {
    const auto& progress = status.schedule.progress;
    if (progress.last_error.empty()) continue;
    faults.push_back(
        fmt::format("the certificate of {} is not issued: {}; it is tried again at {:%Y-%m-%d %H:%M} UTC",
                    status.name, progress.last_error, status.schedule.order_at));
  }
  return faults;
}

}  // namespace culvert::node
