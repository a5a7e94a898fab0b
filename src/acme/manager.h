#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "acme/issuer.h"
#include "acme/schedule.h"
#include "acme/store.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "tls/tls.h"

namespace culvert::acme {

struct ManagerOptions {
  IssuerOptions issuer;
  BudgetLimits budgets = {};
  size_t max_names = 20'000;  // that are wanted at once; each costs some 10 KiB and a TLS context
  // That run at once. One that waits for a slow CA must not be in the way of all others.
  size_t max_orders = 16;
  size_t max_questions = 4;  // for renewal windows
};

struct ManagerCounters {
  uint64_t first_certificates = 0;
  uint64_t renewals = 0;
  uint64_t failed_orders = 0;
  uint64_t failed_writes = 0;  // of the store
  uint64_t refused_names = 0;  // over max_names
};

// Keeps a valid certificate for each name that is wanted: gets one when the name is first wanted, renews it,
// tries again what failed, and says when there is a new one. The old one stays in service until then. Lives
// on one loop.
//
//   manager.want("app.example.com", tenant);   // a live route of a valid tenant has this name
//   manager.unwant("app.example.com");         // none has any more: no further order is made
class Manager {
 public:
  // A certificate is there to be served in place of the one before. Never called for an expired one. It may
  // be called from want().
  using Install = std::function<void(const std::string& name, const StoredCertificate& stored,
                                     tls::IdentityPtr identity)>;

  // `store` and `solver` outlive it. Reads the budgets.
  Manager(net::EventLoop& loop, ManagerOptions options, Store& store, Solver& solver, Install install);

  // A hostname or a wildcard, in lower case. Wanted again by another tenant it counts for that one. Reads
  // what is stored of a new one: a small file. kInvalid; kLimit: too many names.
  Result<> want(const std::string& name, const std::string& tenant);
  void unwant(const std::string& name);

  // Works until stop(). Orders that run then are cancelled, and what was published for them is withdrawn.
  net::Task<> run();
  void stop();

  struct Status {
    std::string name;
    std::string directory;  // the CA that issued the certificate, or empty
    Schedule::Status schedule;
  };
  // For people: of one name, or of all that are wanted.
  std::optional<Status> status(const std::string& name) const;
  std::vector<Status> statuses() const;
  // At one moment.
  struct Totals {
    ManagerCounters counters = {};
    IssuerCounters issuer = {};
    uint64_t held = 0;  // orders that waited for a budget
    // Names by their certificates.
    uint64_t valid = 0, expired = 0, missing = 0;
    std::optional<std::chrono::seconds> least_left = std::nullopt;  // of all certificates

    // One more certificate.
    void count(const Validity& validity, UnixTime now);
  };
  Totals totals() const;
  const ManagerCounters& counters() const { return counters_; }

 private:
  struct Entry {
    Record record;
    // Of its certificate, if it has one that can be used.
    std::optional<Validity> validity = std::nullopt;
    std::string renewal_id = {};  // empty: it has none
    tls::IdentityPtr identity = nullptr;
  };

  net::Task<> run_job(Schedule::Job job);
  net::Task<> order(std::string name);
  net::Task<> ask_for_window(std::string name);
  // Reads what is stored; a certificate that cannot be used is left out.
  Entry load(const std::string& name);
  void install(const std::string& name, const Entry& entry);
  void forget(const std::string& name);
  net::Task<> take(std::string name, IssuedCertificate issued);
  net::Task<> failed(std::string name, Failure failure);
  // False: it is tried again later. The name has an entry.
  net::Task<bool> save(std::string name);
  net::Task<> save_budgets();
  void start_jobs();
  net::Task<> maintain();
  net::Task<> remove_old(std::string name);

  net::EventLoop& loop_;
  const ManagerOptions options_;
  Store& store_;
  const Install install_;
  Issuer issuer_;
  Schedule schedule_;
  // The wanted ones, and those with a job that runs.
  std::map<std::string, Entry> entries_;
  std::set<std::string> unsaved_;      // names of entries that could not be stored
  std::vector<std::string> to_sweep_;  // stored names that are looked at for removal
  UnixTime swept_at_{};
  bool is_stopped_ = false;
  ManagerCounters counters_;
  net::Notify changed_;
  net::TaskGroup tasks_;
};

void report(const Manager::Totals& totals, Metrics& metrics);

}  // namespace culvert::acme
