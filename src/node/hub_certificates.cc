#include "node/hub_certificates.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "node/public_certificates.h"

namespace culvert::node {
namespace {

namespace fs = std::filesystem;

// How soon it is seen that this hub is to order, and that an edge is there.
constexpr Duration kLook = std::chrono::milliseconds(500);
constexpr Duration kTakeOverAgain = std::chrono::minutes(1);
constexpr Duration kRemoveAgain = std::chrono::seconds(5);

}  // namespace

HubCertificates::HubCertificates(net::EventLoop& loop, Parts parts, const std::vector<std::string>& own)
    : loop_(loop),
      parts_(std::move(parts)),
      shared_(*parts_.shared),
      names_(loop,
             {.proves_wildcards =
                  [this](const std::string& below) {
                    return !parts_.manager || answerer_.can_answer(acme::ChallengeType::kDns01, below);
                  },
              .want = [this](const std::string& name, const std::string& tenant) { want(name, tenant); },
              .unwant = [this](const std::string& name) { unwant(name); }}),
      closing_(loop),
      withdrawals_(loop),
      tasks_(loop) {
  auto opened = open_former();
  (void)opened;  // begin_ordering() tries again, and tells
  const auto answer = [this](const acme::Challenge& challenge) {
    auto added = parts_.challenges->add(challenge, loop_.unix_now());
    if (!added)
      log_error("acme_challenge_lost", "name=\"{}\" reason={}", challenge.name,
                culvert::quoted(added.error().message));
  };
  for (const acme::Challenge& challenge : shared_.challenges()) answer(challenge);
  shared_.set_listeners({.certificate = [this](const std::string& name) { stored(name); },
                         .challenge =
                             [this, answer](const acme::Challenge& challenge, bool is_pending) {
                               if (is_pending) {
                                 answer(challenge);
                               } else {
                                 parts_.challenges->remove(challenge);
                               }
                             }});
  names_.add_own(own);
}

bool HubCertificates::Answerer::can_answer(acme::ChallengeType type, const std::string& name) const {
  if (type == acme::ChallengeType::kDns01)
    return of_.parts_.dns != nullptr && of_.parts_.dns->can_answer(name);
  const bool is_answered_here = of_.parts_.own_challenges.contains(type);
  if (of_.names_.is_own(name)) return is_answered_here;
  return (is_answered_here || !of_.parts_.is_edge) && of_.shared_.edges_answer(type, of_.parts_.is_edge);
}

net::Task<Result<>> HubCertificates::Answerer::publish(acme::Challenge challenge) {
  if (challenge.type == acme::ChallengeType::kDns01)
    return of_.parts_.dns->put(challenge.dns_name(), challenge.dns_text());
  return of_.shared_.add(std::move(challenge));
}

void HubCertificates::Answerer::withdraw(const acme::Challenge& challenge) {
  if (challenge.type == acme::ChallengeType::kDns01) {
    of_.parts_.dns->remove(challenge.dns_name(), challenge.dns_text());
  } else {
    of_.withdrawals_.spawn(of_.take_back(challenge));
  }
}

// Until it is removed, or the hub that orders next does it.
net::Task<> HubCertificates::take_back(acme::Challenge challenge) {
  while (!is_closing_ && shared_.is_orderer()) {
    auto removed = co_await shared_.remove(challenge);
    if (removed) co_return;
    const bool notified = co_await closing_.wait_until(loop_.now() + kRemoveAgain);
    (void)notified;
  }
}

net::Task<> HubCertificates::tend() {
  while (!is_closing_ && parts_.manager) {
    co_await shared_.apply_for_orders();
    if (!manager_ && shared_.is_orderer()) co_await begin_ordering();
    if (manager_ && !shared_.is_orderer()) stop_ordering();
    if (!edges_are_there_ && shared_.can_be_answered(parts_.is_edge)) {
      edges_are_there_ = true;
      order_of_routes();
    }
    const bool notified = co_await closing_.wait_until(loop_.now() + kLook);
    (void)notified;
  }
}

Result<> HubCertificates::open_former() {
  std::error_code ignored;
  if (former_ || !parts_.manager || !fs::is_directory(parts_.former_directory, ignored)) return {};
  auto opened = acme::FileStore::open(parts_.former_directory);
  if (!opened) return std::unexpected(opened.error());
  former_ = std::move(*opened);
  return {};
}

net::Task<> HubCertificates::begin_ordering() {
  if (loop_.now() < take_over_at_) co_return;
  auto taken = open_former();
  if (taken && former_) taken = co_await take_over_files();
  if (!taken) {
    take_over_at_ = loop_.now() + kTakeOverAgain;
    log_error("certificates_not_taken_over", "path={} reason={} meaning={}",
              culvert::quoted(parts_.former_directory.native()), culvert::quoted(taken.error().message),
              culvert::quoted("none is ordered until they are; it is tried again"));
    co_return;
  }
  // Of a hub that ordered before and was killed: its orders ended with it.
  for (const acme::Challenge& former : shared_.challenges()) {
    auto removed = co_await shared_.remove(former);
    if (!removed) co_return;  // it is tried again
  }
  if (is_closing_ || !shared_.is_orderer()) co_return;
  manager_ =
      std::make_shared<acme::Manager>(loop_, *parts_.manager, shared_.store(), answerer_,
                                      [this](const std::string& name, const acme::StoredCertificate& stored,
                                             const tls::IdentityPtr&) { serve(name, stored); });
  for (const std::string& name : names_.own()) order(name, "");
  if (edges_are_there_) order_of_routes();
  tasks_.spawn(run(manager_));
}

void HubCertificates::stop_ordering() {
  if (!manager_) return;
  manager_->stop();
  manager_.reset();
}

net::Task<Result<>> HubCertificates::take_over_files() {
  auto directories = former_->account_directories();
  if (!directories) co_return std::unexpected(directories.error());
  for (const std::string& directory : *directories) {
    auto known = shared_.store().load_account(directory);
    auto account = former_->load_account(directory);
    if (!account) co_return std::unexpected(account.error());
    if ((known && *known) || !*account) continue;
    auto stored = co_await shared_.store().put_account(directory, **account);
    if (!stored) co_return stored;
  }
  auto names = former_->names();
  if (!names) co_return std::unexpected(names.error());
  for (const std::string& name : *names) {
    auto known = shared_.store().load(name);
    auto record = former_->load(name);
    if (!record) co_return std::unexpected(record.error());
    if ((known && *known) || !*record) continue;
    auto stored = co_await shared_.store().put(**record);
    if (!stored) co_return stored;
  }
  auto known_budgets = shared_.store().load_budgets();
  auto budgets = former_->load_budgets();
  if (!budgets) co_return std::unexpected(budgets.error());
  if (known_budgets && known_budgets->empty() && !budgets->empty()) {
    auto stored = co_await shared_.store().put_budgets(*budgets);
    if (!stored) co_return stored;
  }
  former_.reset();
  fs::path aside = parts_.former_directory;
  aside += ".taken-over";
  std::error_code error;
  fs::rename(parts_.former_directory, aside, error);
  log_info("certificates_taken_over", "names={} path={} renamed_to={}", names->size(),
           culvert::quoted(parts_.former_directory.native()),
           culvert::quoted(error ? std::string() : aside.native()));
  co_return Result<>();
}

void HubCertificates::want(const std::string& name, const std::string& tenant) {
  refresh(name);
  if (names_.is_own(name) || edges_are_there_) order(name, tenant);
}

void HubCertificates::order(const std::string& name, const std::string& tenant) {
  if (!manager_) return;
  auto wanted = manager_->want(name, tenant);
  if (wanted) return;
  log_warn("certificate_not_ordered", "host={} reason={}", culvert::quoted(name),
           culvert::quoted(wanted.error().message));
}

void HubCertificates::order_of_routes() {
  for (const auto& [name, tenant] : names_.of_routes()) order(name, tenant);
}

void HubCertificates::unwant(const std::string& name) {
  shared_.feed().remove_certificate(name);
  if (names_.is_own(name)) return;
  if (manager_) manager_->unwant(name);
  served_.erase(name);
  failing_.erase(name);
  parts_.certificates->remove(name);
}

void HubCertificates::stored(const std::string& name) {
  const auto served = served_.find(name);
  const auto known = shared_.store().load_public(name);
  note_failure(name, known ? *known : std::nullopt);
  const bool is_stored = known && *known && (*known)->certificate;
  // Most changes of a record are of its progress.
  if (!is_stored || (served != served_.end() && served->second.chain == (*known)->certificate->chain)) return;
  refresh(name);
}

void HubCertificates::refresh(const std::string& name) {
  if (!names_.contains(name)) return;
  auto record = shared_.store().load(name);
  note_failure(name, record ? *record : std::nullopt);
  const bool is_stored = record && *record && (*record)->certificate;
  if (!is_stored && former_) record = former_->load(name);
  if (record && *record && (*record)->certificate) serve(name, *(*record)->certificate);
}

void HubCertificates::note_failure(const std::string& name, const std::optional<acme::Record>& record) {
  if (record && names_.contains(name) && !record->progress.last_error.empty()) {
    failing_.insert(name);
  } else {
    failing_.erase(name);
  }
}

void HubCertificates::serve(const std::string& name, const acme::StoredCertificate& stored) {
  if (!names_.contains(name)) return;
  auto usable = acme::make_usable(stored, name);
  if (!usable) {
    log_error("acme_certificate_unusable", "name=\"{}\" error={}", name,
              culvert::quoted(usable.error().message));
    return;
  }
  const acme::Validity validity = usable->validity();
  if (loop_.unix_now() >= validity.not_after) return;
  // An older one comes from a record that was stored before.
  const auto old = served_.find(name);
  if (old != served_.end() && validity.not_before < old->second.validity.not_before) return;
  served_.insert_or_assign(name, Served{.chain = stored.chain, .validity = validity});
  if (parts_.is_edge || names_.is_own(name)) parts_.certificates->put(name, std::move(usable->identity));
  if (names_.is_of_route(name)) {
    shared_.feed().put(hubapi::EdgeCertificate{
        .name = name, .chain = stored.chain, .key = stored.key, .directory = stored.directory});
  }
}

void HubCertificates::close() {
  is_closing_ = true;
  closing_.notify();
  shared_.set_listeners({});
  stop_ordering();
}

net::Task<> HubCertificates::closed() {
  co_await tasks_.join();
  withdrawals_.cancel();
  co_await withdrawals_.join();
}

std::vector<std::string> HubCertificates::faults() const {
  std::vector<std::string> faults;
  if (manager_) faults = certificate_faults(manager_->statuses());
  if (is_waiting_for_edges()) {
    faults.push_back(fmt::format(
        "{} certificates wait for an edge that can prove their names: none follows this hub; start an edge "
        "of this version, see `culvert edge list`",
        names_.of_routes().size()));
  }
  return faults;
}

acme::Manager::Totals HubCertificates::totals() const {
  acme::Manager::Totals totals;
  if (manager_) totals = manager_->totals();
  totals.valid = totals.expired = 0;
  totals.least_left.reset();
  const UnixTime now = loop_.unix_now();
  for (const auto& [name, served] : served_) totals.count(served.validity, now);
  // Without a CA nothing is missing.
  totals.missing = parts_.manager ? names_.size() - served_.size() : 0;
  return totals;
}

hub::CertificateTotals HubCertificates::shown_totals() const {
  hub::CertificateTotals out{.names = parts_.manager ? names_.size() : served_.size()};
  for (const auto& [name, served] : served_) out.soonest.push_back({served.validity.not_after, name});
  const size_t shown = std::min(out.soonest.size(), hub::CertificateTotals::kMostSoonest);
  std::ranges::partial_sort(out.soonest, out.soonest.begin() + static_cast<ptrdiff_t>(shown));
  out.soonest.resize(shown);
  if (manager_) {
    out.failing = static_cast<size_t>(std::ranges::count_if(
        manager_->statuses(), [](const auto& each) { return !each.schedule.progress.last_error.empty(); }));
  } else {
    out.failing = failing_.size();
  }
  return out;
}

std::vector<hub::CertificateStatus> HubCertificates::list(const std::string& after, size_t most) const {
  std::set<std::string> names;
  const auto take = [&](const auto& from, const auto& name_of) {
    size_t taken = 0;
    for (auto each = from.upper_bound(after); each != from.end() && taken < most; ++each, ++taken)
      names.insert(name_of(*each));
  };
  if (parts_.manager) {
    take(names_.own(), [](const std::string& name) { return name; });
    take(names_.of_routes(), [](const auto& pair) { return pair.first; });
  }
  for (const std::string& name : shared_.store().names_after(after, most)) names.insert(name);
  std::vector<hub::CertificateStatus> out;
  for (const std::string& name : names) {
    if (out.size() == most) break;
    out.push_back(status_of(name));
  }
  return out;
}

hub::CertificateStatus HubCertificates::status_of(const std::string& name) const {
  using State = hub::CertificateStatus::State;
  hub::CertificateStatus out{.name = name};
  const auto record = shared_.store().load_public(name).value_or(std::nullopt);
  const auto ordered = manager_ ? manager_->status(name) : std::nullopt;
  if (record && record->certificate) {
    out.directory = record->certificate->directory;
    if (const auto chain = tls::CertificateChain::from_pem(record->certificate->chain)) {
      out.issuer = chain->root_name();
      out.issued_at = chain->not_before();
      out.expires_at = chain->not_after();
    }
  }
  acme::Progress progress = record ? record->progress : acme::Progress{};
  if (ordered) progress = ordered->schedule.progress;
  out.reason = progress.last_error;
  if (!names_.contains(name)) {
    out.state = State::kUnused;
    return out;
  }
  if (out.expires_at && loop_.unix_now() >= *out.expires_at) {
    out.state = State::kExpired;
  } else if (!progress.last_error.empty()) {
    out.state = State::kFailing;
  } else if (out.expires_at) {
    out.state = State::kValid;
  }
  if (ordered && !ordered->schedule.is_running) {
    out.next_try_at = ordered->schedule.order_at;
    if (const auto& budget_at = ordered->schedule.budget_at; budget_at && out.reason.empty()) {
      out.reason = fmt::format("it waits for a budget of orders until {:%Y-%m-%d %H:%M} UTC", *budget_at);
    }
  } else if (!ordered) {
    const UnixTime next = std::max(progress.renew_at, progress.retry_at);
    if (next != UnixTime()) out.next_try_at = next;
  }
  if (is_waiting_for_edges() && !names_.is_own(name) && out.reason.empty())
    out.reason = "it waits for an edge that follows this hub";
  return out;
}

}  // namespace culvert::node
