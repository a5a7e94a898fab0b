#include "acme/manager.h"

#include <algorithm>

#include "acme/usable_certificate.h"
#include "base/check.h"
#include "base/hostname.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;

// How long the loop sleeps at most: a clock that was set is noticed then, and what could not be stored is
// tried again.
constexpr std::chrono::seconds kTick = 1min;
// What nobody wants any more is removed when its certificate has been expired, or its last order has failed,
// for so long.
constexpr std::chrono::seconds kKeepUnwanted = std::chrono::days(30);
constexpr std::chrono::seconds kSweepEvery = 24h;
// Records that are looked at in one tick: each is a small file, and the loop has other work.
constexpr size_t kSweptAtOnce = 20;

}  // namespace

Manager::Manager(net::EventLoop& loop, ManagerOptions options, Store& store, Solver& solver, Install install)
    : loop_(loop),
      options_(std::move(options)),
      store_(store),
      install_(std::move(install)),
      issuer_(loop, options_.issuer, store, solver),
      schedule_(options_.budgets, loop.random()),
      changed_(loop),
      tasks_(loop) {
  auto text = store_.load_budgets();
  auto restored = text && !text->empty() ? schedule_.budgets().restore(*text) : Result<>();
  if (!text) restored = std::unexpected(text.error());
  if (!restored) log_error("acme_budgets_lost", "error={}", quoted(restored.error().message));
}

Result<> Manager::want(const std::string& name, const std::string& tenant) {
  if (!is_hostname_or_wildcard(name)) {
    return fail(ErrorCode::kInvalid, "{} cannot have a certificate: it is not a lower-case hostname",
                quoted(name));
  }
  const bool is_new = !schedule_.status(name);
  if (is_new && schedule_.size() >= options_.max_names) {
    ++counters_.refused_names;
    return fail(ErrorCode::kLimit, "{} gets no certificate: the limit of {} names is reached", name,
                options_.max_names);
  }
  auto place = entries_.find(name);
  if (place == entries_.end()) place = entries_.emplace(name, load(name)).first;
  const Entry& entry = place->second;
  schedule_.add(name, tenant, entry.record.progress, entry.validity, loop_.unix_now());
  if (is_new) install(name, entry);
  changed_.notify();
  return {};
}

void Manager::unwant(const std::string& name) {
  const auto status = schedule_.status(name);
  if (!status) return;
  schedule_.remove(name);
  if (!status->is_running) forget(name);
}

void Manager::forget(const std::string& name) {
  entries_.erase(name);
  unsaved_.erase(name);
}

Manager::Entry Manager::load(const std::string& name) {
  Entry out{.record = {.name = name}};
  auto stored = store_.load(name);
  if (!stored) log_error("acme_record_lost", "name=\"{}\" error={}", name, quoted(stored.error().message));
  if (!stored || !*stored) return out;
  out.record = std::move(**stored);
  if (!out.record.certificate) return out;
  auto usable = make_usable(*out.record.certificate, name);
  if (!usable) {
    log_error("acme_certificate_unusable", "name=\"{}\" error={}", name, quoted(usable.error().message));
    out.record.certificate.reset();
    return out;
  }
  out.validity = usable->validity();
  out.renewal_id = renewal_id(usable->chain).value_or("");
  out.identity = std::move(usable->identity);
  return out;
}

void Manager::install(const std::string& name, const Entry& entry) {
  if (entry.identity && loop_.unix_now() < entry.validity->not_after)
    install_(name, *entry.record.certificate, entry.identity);
}

net::Task<> Manager::run() {
  while (!is_stopped_) {
    co_await maintain();
    if (is_stopped_) break;
    start_jobs();
    // The end of a job wakes the loop as well.
    UnixTime next = UnixTime::max();
    if (schedule_.running_orders() < options_.max_orders) next = schedule_.next_order();
    if (schedule_.running_questions() < options_.max_questions)
      next = std::min(next, schedule_.next_question());
    const auto pause = std::clamp<std::chrono::seconds>(next - loop_.unix_now(), 1s, kTick);
    const bool notified = co_await changed_.wait_until(loop_.now() + pause);
    (void)notified;
  }
  tasks_.cancel();
  co_await tasks_.join();
}

void Manager::stop() {
  is_stopped_ = true;
  changed_.notify();
}

void Manager::start_jobs() {
  const UnixTime now = loop_.unix_now();
  for (Schedule::Job& job : schedule_.take_orders(now, options_.max_orders - schedule_.running_orders())) {
    tasks_.spawn(run_job(std::move(job)));
  }
  for (Schedule::Job& job :
       schedule_.take_questions(now, options_.max_questions - schedule_.running_questions())) {
    tasks_.spawn(run_job(std::move(job)));
  }
}

net::Task<> Manager::run_job(Schedule::Job job) {
  if (job.kind == Schedule::Job::Kind::kAskForWindow) {
    co_await ask_for_window(job.name);
  } else {
    co_await order(job.name);
  }
  if (!schedule_.status(job.name)) forget(job.name);
  changed_.notify();
}

net::Task<> Manager::order(std::string name) {
  co_await save_budgets();
  // What cannot be stored is not ordered: it would be ordered again after a restart.
  const bool is_stored = co_await save(name);
  if (!is_stored) {
    co_await failed(name,
                    {.error = {ErrorCode::kIo,
                               "nothing was ordered, since a certificate could not be stored; see the log"}});
    co_return;
  }
  std::optional<ReplacedCertificate> replaced;
  const Entry& entry = entries_.at(name);  // as long as its job runs
  if (entry.record.certificate) {
    replaced = {.directory = entry.record.certificate->directory, .renewal_id = entry.renewal_id};
  }
  auto outcome = co_await issuer_.issue({name}, std::move(replaced));
  if (outcome) {
    co_await take(name, std::move(*outcome));
  } else {
    co_await failed(name, outcome.error());
  }
  co_await save_budgets();
}

net::Task<> Manager::take(std::string name, IssuedCertificate issued) {
  Entry& entry = entries_.at(name);
  auto identity = issued.chain.identity(issued.key);
  CHECK(identity);
  ++(entry.record.certificate ? counters_.renewals : counters_.first_certificates);
  entry.validity = Validity{.not_before = issued.chain.not_before(), .not_after = issued.chain.not_after()};
  entry.identity = std::move(*identity);
  entry.record.progress = schedule_.issued(name, *entry.validity, loop_.unix_now());
  entry.record.certificate = StoredCertificate{
      .chain = issued.chain.pem(), .key = issued.key.to_pem(), .directory = issued.directory};
  entry.renewal_id = renewal_id(issued.chain).value_or("");
  log_info("acme_certificate_issued", "name=\"{}\" ca=\"{}\" valid_until={}", name, issued.directory,
           issued.chain.not_after().time_since_epoch().count());
  // Served also while it is not stored yet.
  if (schedule_.status(name)) install(name, entry);
  co_await save(std::move(name));
}

net::Task<> Manager::failed(std::string name, Failure failure) {
  ++counters_.failed_orders;
  Entry& entry = entries_.at(name);
  const UnixTime now = loop_.unix_now();
  entry.record.progress = schedule_.failed(name, failure, now);
  log_warn("acme_order_failed", "name=\"{}\" failures={} retry_in_s={} error={}", name,
           entry.record.progress.failures, (entry.record.progress.retry_at - now).count(),
           quoted(failure.error.message));
  co_await save(std::move(name));
}

net::Task<> Manager::ask_for_window(std::string name) {
  Entry& entry = entries_.at(name);
  Outcome<Client::RenewalInfo> told = std::unexpected(Failure{.error = {ErrorCode::kNotFound, ""}});
  if (entry.record.certificate && !entry.renewal_id.empty()) {
    told = co_await issuer_.renewal_info(entry.record.certificate->directory, entry.renewal_id);
  }
  const UnixTime now = loop_.unix_now();
  if (!told && told.error().error.code != ErrorCode::kNotFound) {
    log_debug("acme_no_renewal_window", "name=\"{}\" error={}", name, quoted(told.error().error.message));
  }
  entry.record.progress = told ? schedule_.window_told(name, told->window, told->retry_after, now)
                               : schedule_.window_missing(name, now);
  co_await save(std::move(name));
}

net::Task<bool> Manager::save(std::string name) {
  auto saved = co_await store_.put(entries_.at(name).record);
  if (saved) {
    unsaved_.erase(name);
    co_return true;
  }
  if (entries_.contains(name)) unsaved_.insert(name);
  ++counters_.failed_writes;
  log_error("acme_record_not_stored", "name=\"{}\" error={}", name, quoted(saved.error().message));
  co_return false;
}

net::Task<> Manager::save_budgets() {
  auto saved = co_await store_.put_budgets(schedule_.budgets().encode(loop_.unix_now()));
  if (saved) co_return;
  ++counters_.failed_writes;
  log_error("acme_budgets_not_stored", "error={}", quoted(saved.error().message));
}

net::Task<> Manager::maintain() {
  // With the disk still full the others fail as well.
  bool is_storing = true;
  while (is_storing && !is_stopped_ && !unsaved_.empty()) is_storing = co_await save(*unsaved_.begin());
  const UnixTime now = loop_.unix_now();
  if (to_sweep_.empty() && (now >= swept_at_ + kSweepEvery || now < swept_at_)) {
    swept_at_ = now;
    if (auto names = store_.names()) to_sweep_ = std::move(*names);
  }
  for (size_t i = 0; i < kSweptAtOnce && !is_stopped_ && !to_sweep_.empty(); ++i) {
    const std::string name = std::move(to_sweep_.back());
    to_sweep_.pop_back();
    if (!entries_.contains(name)) co_await remove_old(name);
  }
}

net::Task<> Manager::remove_old(std::string name) {
  auto record = store_.load(name);
  if (!record || !*record) co_return;
  UnixTime last = (*record)->progress.failed_at;
  if ((*record)->certificate) {
    const auto chain = tls::CertificateChain::from_pem((*record)->certificate->chain);
    if (chain) last = std::max(last, chain->not_after());
  }
  if (loop_.unix_now() < last + kKeepUnwanted) co_return;
  auto removed = co_await store_.erase(name);
  if (removed) {
    log_info("acme_record_removed", "name=\"{}\"", name);
  } else {
    log_warn("acme_record_not_removed", "error={}", quoted(removed.error().message));
  }
}

std::optional<Manager::Status> Manager::status(const std::string& name) const {
  auto schedule = schedule_.status(name);
  if (!schedule) return std::nullopt;
  const auto& certificate = entries_.at(name).record.certificate;
  return Status{.name = name,
                .directory = certificate ? certificate->directory : std::string(),
                .schedule = std::move(*schedule)};
}

std::vector<Manager::Status> Manager::statuses() const {
  std::vector<Status> out;
  for (const auto& [name, entry] : entries_) {
    if (auto status = this->status(name)) out.push_back(std::move(*status));
  }
  return out;
}

Manager::Totals Manager::totals() const {
  Totals totals{.counters = counters_, .issuer = issuer_.counters(), .held = schedule_.budget_waits()};
  const UnixTime now = loop_.unix_now();
  for (const Status& status : statuses()) {
    if (const auto& validity = status.schedule.validity) {
      totals.count(*validity, now);
    } else {
      ++totals.missing;
    }
  }
  return totals;
}

void Manager::Totals::count(const Validity& validity, UnixTime now) {
  const std::chrono::seconds left = validity.not_after - now;
  ++(left > std::chrono::seconds::zero() ? valid : expired);
  least_left = std::min(least_left.value_or(left), left);
}

void report(const Manager::Totals& totals, Metrics& metrics) {
  metrics.gauges("culvert_acme_names", "Names that are to have a public certificate, by what they have.",
                 "state",
                 {{"valid", totals.valid}, {"expired", totals.expired}, {"missing", totals.missing}});
  metrics.gauge("culvert_acme_least_validity_seconds",
                "How long the certificate that expires first is still valid; negative: it has expired.",
                totals.least_left ? static_cast<double>(totals.least_left->count()) : 0);
  metrics.counter("culvert_acme_orders_total", "Orders that CAs were sent.", totals.issuer.orders);
  metrics.counters("culvert_acme_certificates_total", "Certificates that were issued.", "kind",
                   {{"first", totals.counters.first_certificates}, {"renewal", totals.counters.renewals}});
  metrics.counters("culvert_acme_failures_total", "What failed on the way to a certificate.", "kind",
                   {{"name", totals.counters.failed_orders},
                    {"ca", totals.issuer.failed_cas},
                    {"challenge", totals.issuer.failed_challenges},
                    {"store", totals.counters.failed_writes}});
  metrics.counters("culvert_acme_limited_total", "Orders that waited for a budget, and names over the limit.",
                   "reason", {{"budget", totals.held}, {"names", totals.counters.refused_names}});
}

}  // namespace culvert::acme
