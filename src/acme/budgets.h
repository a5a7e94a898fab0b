#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace culvert::acme {

// So many in any span of this length.
struct Budget {
  size_t most;
  std::chrono::seconds span;
};
struct BudgetLimits {
  // Below the limits of Let's Encrypt, which count what other programs order as well: 50 certificates for a
  // registered domain in a week, 300 orders of an account in 3 hours. One of ours becomes up to three there
  // when its challenges fail.
  Budget domain = {.most = 40, .span = std::chrono::days(7)};
  Budget all = {.most = 200, .span = std::chrono::hours(3)};
  // So that one tenant does not use up what the others need.
  Budget tenant = {.most = 30, .span = std::chrono::days(1)};
};

// Counts orders, so that this host is never the one whom a CA has to stop. Renewals count against `all`
// alone: a CA lets them pass, and nothing may be in their way. Survives restarts as text. Sans-I/O.
class Budgets {
 public:
  explicit Budgets(BudgetLimits limits) : limits_(limits) {}

  struct Order {
    std::string tenant;
    std::string domain;
    bool is_renewal;
  };
  // The first moment, from `now` on, at which this order is within all budgets.
  UnixTime allowed_at(const Order& order, UnixTime now) const;
  // An order begins, and ends with a certificate or without one. A domain's budget is of certificates: it
  // counts orders that run, and forgets those that failed.
  void begin(const Order& order, UnixTime now);
  void end(const Order& order, bool is_issued, UnixTime now);

  std::string encode(UnixTime now) const;
  // kInvalid: not what encode() made.
  Result<> restore(std::string_view text);

 private:
  // In the order of their times.
  using Times = std::vector<UnixTime>;
  using Table = std::map<std::string, Times, std::less<>>;

  static UnixTime allowed_at(const Times* times, size_t running, const Budget& budget, UnixTime now);
  void forget(UnixTime now);

  BudgetLimits limits_;
  Times all_;
  Table domains_, tenants_;
  std::map<std::string, size_t, std::less<>> running_;  // by domain; not kept over a restart
};

}  // namespace culvert::acme
