#include "acme/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;
using Kind = Schedule::Job::Kind;

const UnixTime kStart{1'800'000'000s};

Failure failure(std::optional<Duration> retry_after = {}) {
  return {.error = {ErrorCode::kUnavailable, "the CA is down"}, .retry_after = retry_after};
}

// A host in simulated time, with a CA that says what becomes of each order.
class Host {
 public:
  std::chrono::seconds lifetime = days(90);
  std::function<std::optional<Failure>(UnixTime)> ca = [](UnixTime) { return std::nullopt; };
  std::function<std::optional<RenewalWindow>(const Validity&, UnixTime)> window =
      [](const Validity&, UnixTime) { return std::nullopt; };

  explicit Host(BudgetLimits limits = {})
      : limits_(limits), schedule_(std::make_unique<Schedule>(limits, random_)) {}

  void want(const std::string& name, const std::string& tenant = "tenant") {
    schedule_->add(name, tenant, stored_[name], validity_of(name), now);
  }
  std::optional<Validity> validity_of(const std::string& name) const {
    const auto place = certificates_.find(name);
    return place == certificates_.end() ? std::nullopt : std::optional(place->second);
  }
  void run_until(UnixTime end) {
    for (;;) {
      const UnixTime next = std::min(schedule_->next_order(), schedule_->next_question());
      if (next > end) break;
      now = std::max(now, next);
      for (const Schedule::Job& job : schedule_->take_orders(now, 4)) run(job);
      for (const Schedule::Job& job : schedule_->take_questions(now, 4)) run(job);
    }
    now = end;
  }
  // As the store gives it back.
  void restart() {
    std::vector<std::pair<std::string, std::string>> names;
    for (const auto& [name, progress] : stored_) {
      if (const auto status = schedule_->status(name)) names.emplace_back(name, status->tenant);
    }
    const std::string budgets = schedule_->budgets().encode(now);
    schedule_ = std::make_unique<Schedule>(limits_, random_);
    ASSERT_TRUE(schedule_->budgets().restore(budgets));
    for (auto& [name, progress] : stored_) {
      progress = parse_record(encode({.name = name, .progress = progress})).value().progress;
    }
    for (const auto& [name, tenant] : names) want(name, tenant);
  }
  Schedule& schedule() { return *schedule_; }

  UnixTime now = kStart;
  std::vector<std::pair<UnixTime, std::string>> attempts;
  std::vector<std::pair<UnixTime, std::string>> issued;
  size_t questions = 0;

 private:
  void run(const Schedule::Job& job) {
    if (job.kind == Kind::kAskForWindow) {
      ++questions;
      const auto told = window(certificates_.at(job.name), now);
      stored_[job.name] =
          told ? schedule_->window_told(job.name, *told, 6h, now) : schedule_->window_missing(job.name, now);
      return;
    }
    attempts.emplace_back(now, job.name);
    EXPECT_EQ(job.kind == Kind::kRenew, certificates_.contains(job.name));
    if (const auto refused = ca(now)) {
      stored_[job.name] = schedule_->failed(job.name, *refused, now);
      return;
    }
    issued.emplace_back(now, job.name);
    const Validity validity{.not_before = now, .not_after = now + lifetime};
    certificates_[job.name] = validity;
    stored_[job.name] = schedule_->issued(job.name, validity, now);
  }

  SeededRandom random_{1};
  BudgetLimits limits_;
  std::unique_ptr<Schedule> schedule_;
  std::map<std::string, Progress> stored_;
  std::map<std::string, Validity> certificates_;
};

TEST(Schedule, IssuesAtOnceAndRenewsForYears) {
  for (const std::chrono::seconds lifetime : {std::chrono::seconds(days(90)), std::chrono::seconds(160h)}) {
    Host host;
    host.lifetime = lifetime;
    host.want("a.test");
    EXPECT_EQ(host.schedule().next_order(), kStart);
    UnixTime checked = kStart;
    for (; checked < kStart + days(730); checked += 12h) {
      host.run_until(checked);
      ASSERT_TRUE(host.validity_of("a.test"));
      EXPECT_GT(host.validity_of("a.test")->not_after, checked) << "never without a valid certificate";
    }
    const auto least = days(730) / lifetime;
    EXPECT_GE(host.issued.size(), static_cast<size_t>(least));
    EXPECT_LE(host.issued.size(), static_cast<size_t>(3 * least));
  }
}

// The CA is down for a day at the worst moment: the old certificate serves, few attempts are made, and one
// succeeds when the CA is back. Also when the process restarts all the time.
TEST(Schedule, OutlastsACaThatIsDown) {
  for (const bool restarts : {false, true}) {
    Host host;
    host.lifetime = 160h;
    host.want("a.test");
    host.run_until(kStart);
    const UnixTime renewal = host.schedule().status("a.test")->progress.renew_at;
    const UnixTime down = renewal - 1h, back = down + 24h;
    host.ca = [&](UnixTime now) {
      return now >= down && now < back ? std::optional(failure()) : std::nullopt;
    };
    for (UnixTime at = kStart; at < back + 25h; at += 10min) {
      host.run_until(at);
      EXPECT_GT(host.validity_of("a.test")->not_after, at);
      if (restarts) host.restart();
    }
    EXPECT_EQ(host.issued.size(), 2u);
    EXPECT_GT(host.issued.back().first, back);
    EXPECT_GE(host.attempts.size(), 2u + 5u);
    EXPECT_LE(host.attempts.size(), 2u + 8u) << "not hammered";
    EXPECT_EQ(host.schedule().status("a.test")->progress.failures, 0u);
    EXPECT_EQ(host.schedule().status("a.test")->progress.last_error, "");
  }
}

TEST(Schedule, FiveFailuresInAnHourAtMost) {
  Host host;
  host.ca = [](UnixTime) { return failure(); };
  host.want("a.test");
  host.run_until(kStart + days(10));
  for (size_t i = 5; i < host.attempts.size(); ++i) {
    EXPECT_GT(host.attempts[i].first - host.attempts[i - 5].first, 1h);
  }
  EXPECT_GE(host.attempts[1].first, kStart + 60s);
  EXPECT_LE(host.attempts[1].first, kStart + 66s);
  EXPECT_LE(host.attempts.size(), 7u + 10u);
}

TEST(Schedule, TheCaSaysHowLongToWait) {
  Host host;
  host.ca = [](UnixTime) { return failure(Duration(30h)); };
  host.want("a.test");
  host.run_until(kStart);
  EXPECT_EQ(host.schedule().next_order(), kStart + 30h);
  host.ca = [](UnixTime) { return failure(Duration(days(300))); };
  host.run_until(kStart + 30h);
  EXPECT_EQ(host.schedule().next_order(), kStart + 30h + days(7)) << "nobody waits for a year";
}

TEST(Schedule, RenewsInTheWindowOfTheCa) {
  Host host;
  host.window = [](const Validity& validity, UnixTime) {
    return RenewalWindow{.start = validity.not_before + days(20), .end = validity.not_before + days(21)};
  };
  host.want("a.test");
  host.run_until(kStart + days(22));
  ASSERT_EQ(host.issued.size(), 2u);
  EXPECT_GE(host.issued[1].first, kStart + days(20));
  EXPECT_LE(host.issued[1].first, kStart + days(21));
  EXPECT_GE(host.questions, 22u * 24 / 7);
  EXPECT_LE(host.questions, 22u * 24 / 6 + 2);
}

TEST(Schedule, AWindowMayComeForward) {
  Host host;
  std::chrono::seconds start = days(60);
  host.window = [&](const Validity& validity, UnixTime) {
    return RenewalWindow{.start = validity.not_before + start, .end = validity.not_before + start + days(1)};
  };
  host.want("a.test");
  host.run_until(kStart + days(10));
  const UnixTime chosen = host.schedule().status("a.test")->progress.renew_at;
  host.run_until(kStart + days(12));
  EXPECT_EQ(host.schedule().status("a.test")->progress.renew_at, chosen) << "chosen once for each window";
  start = days(2);  // the CA is about to revoke
  host.run_until(kStart + days(12) + 7h);
  EXPECT_EQ(host.issued.size(), 2u);
}

TEST(Schedule, ACaWhoseWindowsAreAlwaysPastDoesNotMakeUsOrderWithoutEnd) {
  Host host;
  host.window = [](const Validity&, UnixTime now) {
    return RenewalWindow{.start = now - days(2), .end = now - days(1)};
  };
  host.want("a.test");
  host.run_until(kStart + days(10));
  EXPECT_LE(host.issued.size(), 1u + 40u);
}

TEST(Schedule, OneJobForANameAtATime) {
  SeededRandom random(1);
  Schedule schedule({}, random);
  schedule.add("a.test", "t", {}, std::nullopt, kStart);
  EXPECT_EQ(schedule.take_orders(kStart, 4).size(), 1u);
  EXPECT_TRUE(schedule.take_orders(kStart + days(1), 4).empty());
  schedule.remove("a.test");
  schedule.add("a.test", "t", {}, std::nullopt, kStart);
  EXPECT_TRUE(schedule.take_orders(kStart + days(1), 4).empty()) << "the first one still runs";
  EXPECT_TRUE(schedule.status("a.test")->is_running);
  schedule.issued("a.test", {.not_before = kStart, .not_after = kStart + days(90)}, kStart);
  EXPECT_FALSE(schedule.status("a.test")->is_running);
  EXPECT_TRUE(schedule.status("a.test")->validity) << "what it got is for the name that is there now";
}

// A CA that does not answer questions must not be in the way of orders, which may go to another CA.
TEST(Schedule, QuestionsTakeNoPlaceOfOrders) {
  SeededRandom random(1);
  Schedule schedule({}, random);
  const Validity validity{.not_before = kStart, .not_after = kStart + days(90)};
  for (int i = 0; i < 10; ++i) {
    schedule.add(fmt::format("n{}.test", i), "t", {.renew_at = kStart + 1h, .ask_at = kStart}, validity,
                 kStart);
  }
  EXPECT_EQ(schedule.take_questions(kStart, 2).size(), 2u);
  EXPECT_EQ(schedule.running_questions(), 2u);
  EXPECT_EQ(schedule.take_orders(kStart + 1h, 100).size(), 8u) << "all but those whose question runs";
  EXPECT_EQ(schedule.running_orders(), 8u);
  EXPECT_TRUE(schedule.take_questions(kStart + 1h, 2).empty()) << "one job for a name";
}

TEST(Schedule, NoOrderForANameThatNobodyAsksFor) {
  SeededRandom random(1);
  Schedule schedule({}, random);
  schedule.add("a.test", "t", {}, std::nullopt, kStart);
  schedule.remove("a.test");
  EXPECT_TRUE(schedule.take_orders(kStart + days(1), 4).empty());
  EXPECT_EQ(schedule.next_order(), UnixTime::max());
  schedule.remove("a.test");
  // One that ends after nobody asks for it any more is still stored.
  schedule.add("b.test", "t", {.failures = 3}, std::nullopt, kStart);
  ASSERT_EQ(schedule.take_orders(kStart, 4).size(), 1u);
  schedule.remove("b.test");
  EXPECT_EQ(schedule.failed("b.test", failure(), kStart).failures, 4u);
  EXPECT_EQ(schedule.size(), 0u);
  EXPECT_EQ(schedule.next_order(), UnixTime::max());
}

TEST(Schedule, ATenantDoesNotUseUpWhatOthersNeed) {
  Host host({.tenant = {.most = 3, .span = 24h}});
  for (int i = 0; i < 10; ++i) host.want(fmt::format("greedy-{}.test", i), "greedy");
  host.want("other.example", "other");
  host.run_until(kStart);
  EXPECT_EQ(host.issued.size(), 4u);
  EXPECT_TRUE(host.validity_of("other.example"));
  EXPECT_TRUE(host.schedule().status("greedy-9.test")->budget_at);
  EXPECT_GT(host.schedule().budget_waits(), 0u);
  host.restart();
  host.run_until(kStart + 23h);
  EXPECT_EQ(host.issued.size(), 4u) << "a restart is no new day";
  host.run_until(kStart + days(4));
  EXPECT_EQ(host.issued.size(), 11u);
}

TEST(Schedule, ADomainWaitsForItsBudgetAndRenewalsDoNot) {
  Host host({.domain = {.most = 2, .span = days(7)}, .tenant = {.most = 100, .span = 24h}});
  host.lifetime = 160h;
  for (int i = 0; i < 3; ++i) host.want(fmt::format("n{}.example.test", i));
  host.run_until(kStart + days(6));
  size_t first = 0, renewed = 0;
  std::set<std::string> seen;
  for (const auto& [at, name] : host.issued) ++(seen.insert(name).second ? first : renewed);
  EXPECT_EQ(first, 2u);
  EXPECT_EQ(renewed, 2u);
  host.run_until(kStart + days(8));
  EXPECT_TRUE(host.validity_of("n2.example.test"));
}

TEST(Schedule, AClockThatWasWrongDoesNotBlockForYears) {
  SeededRandom random(1);
  Schedule schedule({}, random);
  const Validity validity{.not_before = kStart, .not_after = kStart + days(90)};
  schedule.add("a.test", "t", {.failures = 1, .retry_at = kStart + days(10'000)}, std::nullopt, kStart);
  schedule.add("b.test", "t", {.renew_at = kStart + days(10'000), .ask_at = kStart + days(10'000)}, validity,
               kStart);
  EXPECT_EQ(schedule.take_orders(kStart, 4).size(), 1u);
  EXPECT_EQ(schedule.take_questions(kStart, 4).size(), 1u);
  schedule.window_missing("b.test", kStart);
  EXPECT_LE(schedule.status("b.test")->progress.renew_at, kStart + days(60));
}

}  // namespace
}  // namespace culvert::acme
