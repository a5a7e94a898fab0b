#include "node/public_certificates.h"

#include <fmt/chrono.h>

#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace culvert::node {

Result<std::unique_ptr<PublicCertificates>> PublicCertificates::open(net::EventLoop& loop, Parts parts) {
  auto store = acme::FileStore::open(parts.directory);
  if (!store) return std::unexpected(store.error());
  return std::unique_ptr<PublicCertificates>(
      new PublicCertificates(loop, std::move(parts), std::move(*store)));
}

PublicCertificates::PublicCertificates(net::EventLoop& loop, Parts parts, acme::FileStore store)
    : parts_(std::move(parts)),
      store_(std::move(store)),
      answerer_(loop, parts_),
      manager_(loop, parts_.manager, store_, answerer_,
               [this](const std::string& name, const acme::StoredCertificate&, tls::IdentityPtr identity) {
                 parts_.certificates->put(name, std::move(identity));
               }),
      names_(loop, {.proves_wildcards =
                        [this](const std::string& below) {
                          return answerer_.can_answer(acme::ChallengeType::kDns01, below);
                        },
                    .want =
                        [this](const std::string& name, const std::string& tenant) {
                          auto wanted = manager_.want(name, tenant);
                          if (wanted) return;
                          log_warn("certificate_not_ordered", "host={} reason={}", culvert::quoted(name),
                                   culvert::quoted(wanted.error().message));
                        },
                    .unwant =
                        [this](const std::string& name) {
                          manager_.unwant(name);
                          parts_.certificates->remove(name);
                        }}),
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

void PublicCertificates::start() { tasks_.spawn(manager_.run()); }

void PublicCertificates::close() { manager_.stop(); }

std::vector<std::string> PublicCertificates::faults() const {
  return certificate_faults(manager_.statuses());
}

std::vector<std::string> certificate_faults(const std::vector<acme::Manager::Status>& statuses) {
  constexpr size_t kMaxNamed = 10;
  std::vector<std::string> faults;
  size_t failing = 0;
  for (const acme::Manager::Status& status : statuses) {
    const auto& progress = status.schedule.progress;
    if (progress.last_error.empty() || ++failing > kMaxNamed) continue;
    faults.push_back(
        fmt::format("the certificate of {} is not issued: {}; it is tried again at {:%Y-%m-%d %H:%M} UTC",
                    status.name, progress.last_error, status.schedule.order_at));
  }
  if (failing > kMaxNamed)
    faults.push_back(fmt::format("{} more certificates are not issued", failing - kMaxNamed));
  return faults;
}

}  // namespace culvert::node
