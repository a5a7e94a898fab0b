#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/key.h"
#include "hub/record.h"
#include "hub/record_store.h"
#include "hub/state.h"
#include "hub/store_options.h"
#include "net/event_loop.h"

namespace culvert::hub {

// How the hub changes what it keeps. A command is judged against what is committed, and becomes true when the
// database has it: no rule can be broken by a race or by an error of the database. Lives on the hub's loop.
class Ledger {
 public:
  struct Command {
    // Two commands that have one of these in common are never judged at the same state.
    std::vector<std::string> touches;
    // What is to be written, by the state as it is; an error is the answer. Called again if another hub has
    // changed the state meanwhile. Empty: nothing but what is unstored.
    std::move_only_function<Result<Batch>()> judge;
    // It was stored after its caller had been told that no answer came in time.
    std::move_only_function<void()> stored_too_late = nullptr;
    std::optional<Duration> patience = std::nullopt;  // not set: StoreOptions::answer_time
  };
  struct Counters {
    // Of the commands that have to write; each failed one is in one of these.
    uint64_t refused_full = 0;  // max_waiting others were waiting
    uint64_t timed_out = 0;
    uint64_t refused = 0;  // by the database: kIo, kClosed
  };

  // Gives `state`, which outlives it, what the store has. Every commit writes first what the state has and
  // the database has not; a failed one is tried again until there is no such thing. Other hubs of the store
  // are told `hub_key`.
  Ledger(net::EventLoop& loop, std::unique_ptr<RecordStore> store, State& state, StoreOptions options,
         const std::optional<PublicKey>& hub_key = std::nullopt);
  ~Ledger() { close(); }
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  net::EventLoop& loop() const { return loop_; }
  ByteView hash_key() const { return store_->hash_key(); }

  // Judges and writes. Errors: those of judge(); kUnavailable, too much waits or no answer came in time; kIo
  // and kClosed as RecordStore::commit(). After any of them the state is as it was, but for a commit that had
  // begun when the time was over: that one may still be stored, and becomes true then.
  net::Task<Result<>> commit(Command command);
  // Writes what is unstored.
  net::Task<Result<>> flush(std::optional<Duration> patience = std::nullopt) {
    return commit({.touches = {}, .judge = nullptr, .patience = patience});
  }
  // Called on the loop when the state has changed by what another hub has committed.
  void set_on_followed(std::function<void()> on_followed) { on_followed_ = std::move(on_followed); }
  // Why nothing can be stored now, as far as is known.
  std::optional<std::string> fault() const { return closed_ ? std::nullopt : store_->fault(); }

  // As flush(), without waiting for it.
  void flush_later();

  // At most `limit` entries of the audit log, the newest first, before the entry `before`. Errors:
  // kUnavailable, kIo, kClosed.
  net::Task<Result<std::vector<AuditEntry>>> audit(std::optional<uint64_t> before, size_t limit);

  // Commits that this hub knows of, its own and others'.
  uint64_t commits() const { return commits_; }
  // Until there are more than `seen`; false when `deadline` came first, or the ledger was closed.
  net::Task<bool> commit_after(uint64_t seen, TimePoint deadline);

  // Waits for what is under way and for a last try to write what is unstored, for a bounded time; blocks.
  // What is called afterwards fails.
  void close();

  const Counters& counters() const { return counters_; }
  uint64_t revision() const { return revision_; }

  // Why the last commit failed, and since when none has succeeded. While there is such a failure the ledger
  // tries by itself whether the database writes again.
  struct Failure {
    Error error;
    UnixTime since;
  };
  const std::optional<Failure>& failure() const { return failure_; }
  // Whether changes cannot be stored now, as the last commit or the store itself says.
  bool is_failing() const { return failure_ || fault(); }

 private:
  struct Waiting;
  using WaitingPtr = std::shared_ptr<Waiting>;

  void advance();
  void landed(const Batch& batch, Result<CommitOutcome> outcome);
  void told_of_commit(std::optional<uint64_t> revision);
  void read_newer();
  void follow(const CommitOutcome& outcome);
  void apply(const std::vector<Record>& records);
  static void finish(Waiting& waiting, Result<> result);

  net::EventLoop& loop_;
  State& state_;
  const StoreOptions options_;
  std::unique_ptr<RecordStore> store_;
  uint64_t revision_;
  uint64_t commits_ = 0;
  net::Notify committed_;
  std::deque<WaitingPtr> queue_;
  std::vector<WaitingPtr> flying_;  // in the commit that is under way
  bool is_flying_ = false;          // a commit, or a look at what others have committed
  bool has_missed_ = false;         // others may have committed something that was not told of
  uint64_t told_revision_ = 0;      // of the last commit that was told of
  std::function<void()> on_followed_;
  std::optional<Failure> failure_;
  bool flush_wanted_ = false;
  bool retry_set_ = false;
  bool closed_ = false;
  net::Timer retry_timer_;
  Counters counters_;
};

}  // namespace culvert::hub
