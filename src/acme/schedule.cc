#include "acme/schedule.h"

#include <algorithm>

#include "acme/registered_domain.h"
#include "base/check.h"

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;

// Let's Encrypt's longest limit is of a week. A wait that is stored and longer than this is of a clock that
// was wrong.
constexpr std::chrono::seconds kLongestAsked = std::chrono::days(7);

void choose_by_lifetime(Progress& progress, const Validity& validity, Random& random) {
  progress.window.reset();
  progress.renew_at = renewal_by_lifetime(validity, random);
}

}  // namespace

void Schedule::add(const std::string& name, const std::string& tenant, Progress progress,
                   std::optional<Validity> validity, UnixTime now) {
  const auto [place, is_new] = entries_.try_emplace(name);
  Entry& entry = place->second;
  entry.tenant = tenant;
  if (!is_new) return;
  entry.added_at = now;
  entry.validity = validity;
  entry.progress = std::move(progress);
  Progress& known = entry.progress;
  if (known.retry_at > now + kLongestAsked) known.retry_at = now;
  if (validity && (known.renew_at == UnixTime() || known.renew_at > validity->not_after)) {
    choose_by_lifetime(known, *validity, random_);
  }
  if (validity && (known.ask_at == UnixTime() || known.ask_at > now + kLongestAsked)) known.ask_at = now;
  if (!running_.contains(name)) enqueue(name, entry);
}

void Schedule::remove(const std::string& name) {
  const auto place = entries_.find(name);
  if (place == entries_.end()) return;
  dequeue(name, place->second);
  entries_.erase(place);
}

UnixTime Schedule::order_at(const Entry& entry) {
  const UnixTime wanted = entry.validity ? entry.progress.renew_at : entry.added_at;
  return std::max({wanted, entry.progress.retry_at, entry.budget_at});
}

void Schedule::enqueue(const std::string& name, Entry& entry) {
  dequeue(name, entry);
  entry.order_at = order_at(entry);
  orders_.emplace(entry.order_at, name);
  if (!entry.validity) return;
  entry.question_at = entry.progress.ask_at;
  questions_.emplace(entry.question_at, name);
}

void Schedule::dequeue(const std::string& name, const Entry& entry) {
  orders_.erase({entry.order_at, name});
  questions_.erase({entry.question_at, name});
}

void Schedule::begin(const std::string& name, const Entry& entry, Job::Kind kind, Budgets::Order order) {
  dequeue(name, entry);
  running_.emplace(
      name,
      Running{
          .kind = kind, .order = std::move(order), .progress = entry.progress, .validity = entry.validity});
}

std::vector<Schedule::Job> Schedule::take_orders(UnixTime now, size_t most) {
  std::vector<Job> jobs;
  while (jobs.size() < most && next_order() <= now) {
    const std::string name = orders_.begin()->second;
    Entry& entry = entries_.at(name);
    Budgets::Order order{
        .tenant = entry.tenant, .domain = registered_domain(name), .is_renewal = entry.validity.has_value()};
    const UnixTime allowed = budgets_.allowed_at(order, now);
    if (allowed > now) {
      ++budget_waits_;
      entry.budget_at = allowed;
      enqueue(name, entry);
      continue;
    }
    budgets_.begin(order, now);
    jobs.push_back({.kind = order.is_renewal ? Job::Kind::kRenew : Job::Kind::kIssue, .name = name});
    begin(name, entry, jobs.back().kind, std::move(order));
  }
  return jobs;
}

std::vector<Schedule::Job> Schedule::take_questions(UnixTime now, size_t most) {
  std::vector<Job> jobs;
  while (jobs.size() < most && next_question() <= now) {
    jobs.push_back({.kind = Job::Kind::kAskForWindow, .name = questions_.begin()->second});
    begin(jobs.back().name, entries_.at(jobs.back().name), jobs.back().kind, {});
    ++running_questions_;
  }
  return jobs;
}

Schedule::Running Schedule::finish(const std::string& name, bool is_issued, UnixTime now) {
  auto job = running_.extract(name);
  CHECK(!job.empty());
  if (job.mapped().kind == Job::Kind::kAskForWindow) {
    --running_questions_;
  } else {
    budgets_.end(job.mapped().order, is_issued, now);
  }
  return std::move(job.mapped());
}

Progress Schedule::go_on(const std::string& name, const Running& ended) {
  const auto place = entries_.find(name);
  if (place == entries_.end()) return ended.progress;
  Entry& entry = place->second;
  entry.progress = ended.progress;
  entry.validity = ended.validity;
  entry.budget_at = {};
  enqueue(name, entry);
  return ended.progress;
}

Progress Schedule::issued(const std::string& name, const Validity& validity, UnixTime now) {
  Running job = finish(name, true, now);
  job.progress = {};
  job.validity = validity;
  choose_by_lifetime(job.progress, validity, random_);
  job.progress.ask_at = now + window_wait(Duration(1h), random_);
  return go_on(name, job);
}

Progress Schedule::failed(const std::string& name, const Failure& failure, UnixTime now) {
  Running job = finish(name, false, now);
  Progress& progress = job.progress;
  if (progress.failures < UINT32_MAX) ++progress.failures;
  std::chrono::seconds pause = retry_wait(progress.failures, random_);
  if (failure.retry_after) {
    const auto asked = std::chrono::ceil<std::chrono::seconds>(*failure.retry_after);
    pause = std::max(pause, std::min(asked, kLongestAsked));
  }
  progress.retry_at = now + pause;
  progress.failed_at = now;
  progress.last_error = failure.error.message;
  return go_on(name, job);
}

Progress Schedule::window_told(const std::string& name, const RenewalWindow& window,
                               std::optional<Duration> retry_after, UnixTime now) {
  Running job = finish(name, false, now);
  // Chosen once for each window: choosing again at each answer would favour early moments.
  if (job.validity && job.progress.window != window) {
    job.progress.window = window;
    job.progress.renew_at = renewal_in_window(window, *job.validity, random_);
  }
  job.progress.ask_at = now + window_wait(retry_after, random_);
  return go_on(name, job);
}

Progress Schedule::window_missing(const std::string& name, UnixTime now) {
  Running job = finish(name, false, now);
  job.progress.ask_at = now + window_wait(std::nullopt, random_);
  return go_on(name, job);
}

std::optional<Schedule::Status> Schedule::status(const std::string& name) const {
  const auto place = entries_.find(name);
  if (place == entries_.end()) return std::nullopt;
  const Entry& entry = place->second;
  Status out{.tenant = entry.tenant,
             .progress = entry.progress,
             .validity = entry.validity,
             .is_running = running_.contains(name),
             .order_at = entry.order_at,
             .budget_at = std::nullopt};
  if (entry.budget_at != UnixTime()) out.budget_at = entry.budget_at;
  return out;
}

}  // namespace culvert::acme
