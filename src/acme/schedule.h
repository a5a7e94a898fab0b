#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "acme/budgets.h"
#include "acme/problem.h"
#include "acme/record.h"
#include "acme/renewal.h"
#include "base/clock.h"
#include "base/random.h"

namespace culvert::acme {

// Which name needs what, and when. Times in, jobs out; no I/O and no clock. There is at most one job for a
// name at a time, also for one that is removed and added again meanwhile.
//
//   waiting ──take_…()──▶ running ──issued(), failed(), window_told(), window_missing()──▶ waiting
class Schedule {
 public:
  // `random` outlives it.
  Schedule(BudgetLimits limits, Random& random) : random_(random), budgets_(limits) {}

  // A name that is asked for, with what was stored of it and how long its certificate is valid, if there is
  // one. One that is there already gets the tenant.
  void add(const std::string& name, const std::string& tenant, Progress progress,
           std::optional<Validity> validity, UnixTime now);
  // A job that runs goes on to its end.
  void remove(const std::string& name);

  struct Job {
    enum class Kind : uint8_t { kIssue, kRenew, kAskForWindow };
    Kind kind;
    std::string name;
  };
  // Jobs that are due, at most so many, the most urgent first. Orders are counted against the budgets here.
  std::vector<Job> take_orders(UnixTime now, size_t most);
  std::vector<Job> take_questions(UnixTime now, size_t most);
  // When the next one is due; UnixTime::max(): none.
  UnixTime next_order() const { return first_of(orders_); }
  UnixTime next_question() const { return first_of(questions_); }

  // The ends of jobs. They return what is to be stored, also for a name that was removed meanwhile.
  Progress issued(const std::string& name, const Validity& validity, UnixTime now);
  Progress failed(const std::string& name, const Failure& failure, UnixTime now);
  Progress window_told(const std::string& name, const RenewalWindow& window,
                       std::optional<Duration> retry_after, UnixTime now);
  // The CA has no windows, or did not answer: neither delays a renewal.
  Progress window_missing(const std::string& name, UnixTime now);

  struct Status {
    std::string tenant;
    Progress progress;
    std::optional<Validity> validity;
    bool is_running;
    UnixTime order_at;                  // the next one, while no job runs
    std::optional<UnixTime> budget_at;  // it waits for a budget until then
  };
  std::optional<Status> status(const std::string& name) const;
  size_t size() const { return entries_.size(); }
  size_t running_orders() const { return running_.size() - running_questions_; }
  size_t running_questions() const { return running_questions_; }
  // How often an order had to wait for a budget.
  uint64_t budget_waits() const { return budget_waits_; }

  Budgets& budgets() { return budgets_; }

 private:
  struct Entry {
    std::string tenant;
    Progress progress;
    std::optional<Validity> validity;
    UnixTime added_at;
    UnixTime budget_at{};
    // Where it stands in the queues.
    UnixTime order_at{};
    UnixTime question_at{};
  };
  struct Running {
    Job::Kind kind;
    Budgets::Order order;
    Progress progress;
    std::optional<Validity> validity;
  };

  using Queue = std::set<std::pair<UnixTime, std::string>>;

  static UnixTime first_of(const Queue& queue) {
    return queue.empty() ? UnixTime::max() : queue.begin()->first;
  }
  static UnixTime order_at(const Entry& entry);
  void enqueue(const std::string& name, Entry& entry);
  void dequeue(const std::string& name, const Entry& entry);
  void begin(const std::string& name, const Entry& entry, Job::Kind kind, Budgets::Order order);
  Running finish(const std::string& name, bool is_issued, UnixTime now);
  Progress go_on(const std::string& name, const Running& ended);

  Random& random_;
  Budgets budgets_;
  std::map<std::string, Entry> entries_;
  Queue orders_, questions_;  // of the entries without a job
  std::map<std::string, Running> running_;
  size_t running_questions_ = 0;
  uint64_t budget_waits_ = 0;
};

}  // namespace culvert::acme
