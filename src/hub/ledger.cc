#include "hub/ledger.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <utility>

#include "base/encoding.h"
#include "base/log.h"

namespace culvert::hub {
namespace {

// Of one commit: some milliseconds of the database.
constexpr size_t kMaxRecords = 1024;

}  // namespace

struct Ledger::Waiting {
  Waiting(net::EventLoop& loop, Command its_command) : command(std::move(its_command)), ended(loop) {}
  Command command;
  net::Notify ended;
  std::optional<Result<>> result;
  bool is_awaited = true;
};

Ledger::Ledger(net::EventLoop& loop, std::unique_ptr<RecordStore> store, State& state, StoreOptions options,
               const std::optional<PublicKey>& hub_key)
    : loop_(loop),
      state_(state),
      options_(options),
      store_(std::move(store)),
      revision_(store_->revision()),
      committed_(loop_),
      retry_timer_(loop) {
  if (store_->is_shared()) {
    std::array<uint8_t, 8> id;
    loop.random().fill(id);
    state_.leases.hubs().join(to_hex(id), hub_key ? hub_key->to_string() : "");
  }
  apply(store_->take_records());
  store_->set_on_commit([this](std::optional<uint64_t> revision) { told_of_commit(revision); });
}

void Ledger::apply(const std::vector<Record>& records) {
  state_.apply(records, loop_.now(), loop_.unix_now());
  ++commits_;
  committed_.notify();
}

net::Task<bool> Ledger::commit_after(uint64_t seen, TimePoint deadline) {
  while (commits_ <= seen && !closed_) {
    const bool in_time = co_await committed_.wait_until(deadline);
    if (!in_time) co_return false;
  }
  co_return !closed_;
}

void Ledger::finish(Waiting& waiting, Result<> result) {
  waiting.result = std::move(result);
  waiting.ended.notify();
}

net::Task<Result<>> Ledger::commit(Command command) {
  if (closed_) co_return fail(ErrorCode::kUnavailable, "the hub ends");
  if (queue_.size() >= options_.max_waiting) {
    ++counters_.refused_full;
    co_return fail(ErrorCode::kUnavailable,
                   "the hub's database is busy and too much waits for it already; nothing was changed, try "
                   "again");
  }
  const auto waiting = std::make_shared<Waiting>(loop_, std::move(command));
  queue_.push_back(waiting);
  advance();
  // Whichever way this ends: what judge() refers to may be gone then.
  struct Leaving {
    Ledger& ledger;
    const WaitingPtr& waiting;
    ~Leaving() {
      waiting->is_awaited = false;
      std::erase(ledger.queue_, waiting);
    }
  } leaving{*this, waiting};
  const TimePoint deadline = loop_.now() + waiting->command.patience.value_or(options_.answer_time);
  bool in_time = true;
  while (!waiting->result && in_time) in_time = co_await waiting->ended.wait_until(deadline);
  if (waiting->result) co_return std::move(*waiting->result);
  ++counters_.timed_out;
  co_return fail(ErrorCode::kUnavailable, "the hub's database did not answer in time; try again");
}

net::Task<Result<std::vector<AuditEntry>>> Ledger::audit(std::optional<uint64_t> before, size_t limit) {
  if (closed_) co_return fail(ErrorCode::kUnavailable, "the hub ends");
  struct Reading {
    explicit Reading(net::EventLoop& loop) : ended(loop) {}
    net::Notify ended;
    std::optional<Result<std::vector<AuditEntry>>> result;
  };
  const auto reading = std::make_shared<Reading>(loop_);
  store_->read_audit(before, limit, [reading](Result<std::vector<AuditEntry>> entries) {
    reading->result = std::move(entries);
    reading->ended.notify();
  });
  const TimePoint deadline = loop_.now() + options_.answer_time;
  bool in_time = true;
  while (!reading->result && in_time) in_time = co_await reading->ended.wait_until(deadline);
  if (reading->result) co_return std::move(*reading->result);
  co_return fail(ErrorCode::kUnavailable, "the hub's database did not answer in time; try again");
}

void Ledger::flush_later() {
  flush_wanted_ = true;
  advance();
}

void Ledger::told_of_commit(std::optional<uint64_t> revision) {
  if (revision) {
    told_revision_ = *revision;
  } else {
    has_missed_ = true;
  }
  advance();
}

void Ledger::read_newer() {
  is_flying_ = true;
  has_missed_ = false;
  store_->read_newer(revision_, [this, told = told_revision_](Result<CommitOutcome> outcome) {
    is_flying_ = false;
    // What was told of while it read may be newer than what it read. After an error the next look is waited
    // for.
    if (told_revision_ == told) told_revision_ = 0;
    if (outcome && outcome->has_moved) follow(*outcome);
    advance();
  });
}

// What others have committed.
void Ledger::follow(const CommitOutcome& outcome) {
  if (outcome.is_complete) apply(state_.removals_in(outcome.newer));
  apply(outcome.newer);
  revision_ = outcome.revision;
  if (on_followed_) on_followed_();
}

// One commit at a time: what waits meanwhile shares the next. What others have committed is read first, so
// that the commit need not be judged again.
void Ledger::advance() {
  if (!is_flying_ && !closed_ && (has_missed_ || told_revision_ > revision_)) read_newer();
  while (!is_flying_ && !closed_ && (!queue_.empty() || flush_wanted_)) {
    flush_wanted_ = false;
    Batch batch = state_.unstored();
    std::set<std::string> touched;
    std::deque<WaitingPtr> later;
    for (WaitingPtr& waiting : std::exchange(queue_, {})) {
      const auto& touches = waiting->command.touches;
      const bool has_turn =
          batch.records.size() < kMaxRecords &&
          std::ranges::none_of(touches, [&](const std::string& each) { return touched.contains(each); });
      touched.insert(touches.begin(), touches.end());
      if (!has_turn) {
        later.push_back(std::move(waiting));
        continue;
      }
      Result<Batch> judged;
      if (waiting->command.judge) judged = waiting->command.judge();
      if (!judged) {
        finish(*waiting, std::unexpected(judged.error()));
        continue;
      }
      std::ranges::move(judged->records, std::back_inserter(batch.records));
      std::ranges::move(judged->audit, std::back_inserter(batch.audit));
      flying_.push_back(std::move(waiting));
    }
    queue_ = std::move(later);
    if (batch.empty() && !failure_) {
      for (const WaitingPtr& waiting : std::exchange(flying_, {})) finish(*waiting, {});
      continue;
    }
    is_flying_ = true;
    store_->commit(revision_, batch,
                   [this, batch](Result<CommitOutcome> outcome) { landed(batch, std::move(outcome)); });
  }
}

void Ledger::landed(const Batch& batch, Result<CommitOutcome> outcome) {
  is_flying_ = false;
  std::vector<WaitingPtr> flying = std::exchange(flying_, {});
  if (outcome) {
    failure_.reset();
  } else {
    failure_ = Failure{outcome.error(), failure_ ? failure_->since : loop_.unix_now()};
  }
  if (!outcome) {
    const ErrorCode code = outcome.error().code;
    const bool was_refused = code == ErrorCode::kIo || code == ErrorCode::kClosed;
    for (const WaitingPtr& waiting : flying) {
      if (waiting->is_awaited && was_refused) ++counters_.refused;
      finish(*waiting, std::unexpected(outcome.error()));
    }
    if (!closed_ && !std::exchange(retry_set_, true)) {
      retry_timer_.after(options_.retry, [this] {
        retry_set_ = false;
        flush_later();
      });
    }
  } else if (outcome->has_moved) {
    follow(*outcome);
    std::erase_if(flying, [](const WaitingPtr& waiting) { return !waiting->is_awaited; });
    queue_.insert(queue_.begin(), std::make_move_iterator(flying.begin()),
                  std::make_move_iterator(flying.end()));
  } else {
    revision_ = outcome->revision;
    apply(batch.records);
    for (const WaitingPtr& waiting : flying) {
      finish(*waiting, {});
      if (!waiting->is_awaited && waiting->command.stored_too_late) waiting->command.stored_too_late();
    }
  }
  advance();
}

void Ledger::close() {
  if (std::exchange(closed_, true)) return;
  committed_.notify();
  retry_timer_.cancel();
  const std::vector<Record> farewell = state_.leases.hubs().farewell();
  Batch last = state_.unstored();
  last.records.insert(last.records.end(), farewell.begin(), farewell.end());
  store_->close(last, [this, last](Result<CommitOutcome> outcome) {
    if (outcome && !outcome->has_moved) apply(last.records);
  });
  const Batch lost = state_.unstored();
  for (const AuditEntry& entry : lost.audit) {
    log_error("hub_change_lost", "action={} subject={} meaning={}", entry.action, entry.subject,
              culvert::quoted("it is not stored; repeat it after the next start"));
  }
  for (const WaitingPtr& waiting : std::exchange(queue_, {})) {
    const bool is_done = !waiting->command.judge && lost.empty();
    finish(*waiting, is_done ? Result<>() : fail(ErrorCode::kUnavailable, "the hub ends"));
  }
}

}  // namespace culvert::hub
