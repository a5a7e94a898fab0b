#include "hub/threaded_store.h"

#include <utility>

#include "base/log.h"

namespace culvert::hub {
namespace {

// The commit that is under way, a check, and readers of the audit log.
constexpr size_t kMaxWaiting = 16;
// Of the last commit, which other hubs may get ahead of.
constexpr int kLastTries = 10;

auto ended() { return fail(ErrorCode::kUnavailable, "the hub ends"); }

// It is in force already, whatever other hubs write at the same time.
Result<CommitOutcome> write_last(RecordDatabase& database, uint64_t at, const Batch& last, uint64_t id) {
  Result<CommitOutcome> outcome = CommitOutcome{.has_moved = true, .revision = at};
  for (int i = 0; i < kLastTries && outcome && outcome->has_moved; ++i)
    outcome = database.commit(outcome->revision, last, id);
  return outcome;
}

template <class T>
std::optional<Error> error_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error());
}

}  // namespace

// Written on the thread before the loop hears of it; never shared after the thread has left it.
struct ThreadedStore::Flight {
  uint64_t at;
  Batch batch;
  uint64_t id;
  std::function<void(Result<CommitOutcome>)> then;
  Result<CommitOutcome> outcome = {};
};

ThreadedStore::ThreadedStore(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database,
                             RecordDatabase::Content content, StoreOptions options)
    : loop_(loop),
      options_(options),
      hash_key_(HashKey::from(database->hash_key())),
      content_(std::move(content)),
      check_timer_(loop),
      repeat_timer_(loop),
      prune_timer_(loop),
      watch_(database->watch([&loop, self = self_](std::optional<uint64_t> revision) {
        loop.post([self, revision] {
          if (*self != nullptr) (*self)->told_of_commit(revision);
        });
      })),
      thread_(loop, std::move(database), kMaxWaiting) {
  check_later();
  prune_after(options_.check_interval);
}

ThreadedStore::~ThreadedStore() {
  close({}, nullptr);
  *self_ = nullptr;
}

Result<std::unique_ptr<RecordStore>> ThreadedStore::open(net::EventLoop& loop,
                                                         std::unique_ptr<RecordDatabase> database,
                                                         StoreOptions options) {
  auto content = database->load();
  if (!content) return std::unexpected(content.error());
  return over(loop, std::move(database), std::move(*content), options);
}

std::unique_ptr<RecordStore> ThreadedStore::over(net::EventLoop& loop,
                                                 std::unique_ptr<RecordDatabase> database,
                                                 RecordDatabase::Content content, StoreOptions options) {
  return std::unique_ptr<RecordStore>(
      new ThreadedStore(loop, std::move(database), std::move(content), options));
}

void ThreadedStore::note(const std::optional<Error>& error) {
  if (error && error->code == ErrorCode::kUnavailable) return;  // of the thread, not of the database
  if (error && !fault_) {
    log_error("hub_database_failing", "reason={} meaning={}", culvert::quoted(error->message),
              culvert::quoted("routes are served as they are; changes fail until the database works again"));
  }
  if (!error && fault_)
    log_info("hub_database_works", "meaning={}", culvert::quoted("changes are stored again"));
  fault_ = error ? std::optional(error->message) : std::nullopt;
}

void ThreadedStore::commit(uint64_t at, Batch batch, std::function<void(Result<CommitOutcome>)> then) {
  write(std::make_shared<Flight>(
      Flight{.at = at, .batch = std::move(batch), .id = loop_.random().u64(), .then = std::move(then)}));
}

void ThreadedStore::write(std::shared_ptr<Flight> flight) {
  auto work = [flight, left_at = left_at_](RecordDatabase& database) {
    flight->outcome = database.commit(flight->at, flight->batch, flight->id);
    if (flight->outcome) *left_at = flight->outcome->revision;
  };
  auto done = [this, flight](bool is_done) { landed(flight, is_done); };
  if (closed_) return thread_.post_last(std::move(work), std::move(done));
  if (!thread_.post(std::move(work), std::move(done))) landed(flight, false);
}

void ThreadedStore::landed(const std::shared_ptr<Flight>& flight, bool is_done) {
  Result<CommitOutcome>& outcome = flight->outcome;
  if (is_done) note(error_of(outcome));
  // A later call that failed says nothing of the first.
  const bool was_unknown = unknown_ == flight;
  const bool is_unknown = !is_done ? was_unknown
                                   : !outcome && outcome.error().code != ErrorCode::kClosed &&
                                         (was_unknown || outcome.error().code == ErrorCode::kReset);
  if (is_unknown && !closed_) {
    unknown_ = flight;
    return repeat_timer_.after(options_.repeat, [this] { write(unknown_); });
  }
  unknown_ = nullptr;
  flight->then(is_done && !is_unknown ? std::move(outcome) : Result<CommitOutcome>(ended()));
}

void ThreadedStore::read_newer(uint64_t after, std::function<void(Result<CommitOutcome>)> then) {
  auto out = std::make_shared<Result<CommitOutcome>>();
  auto work = [out, after, left_at = left_at_](RecordDatabase& database) {
    *out = database.newer(after);
    if (*out) *left_at = (*out)->revision;
  };
  auto done = [this, out, then](bool is_done) {
    if (is_done && !*out) note(error_of(*out));  // that it can be read does not say that it can be written to
    then(is_done ? std::move(*out) : decltype(out)::element_type(ended()));
  };
  if (!thread_.post(std::move(work), std::move(done))) then(ended());
}

void ThreadedStore::read_audit(std::optional<uint64_t> before, size_t limit,
                               std::function<void(Result<std::vector<AuditEntry>>)> then) {
  auto out = std::make_shared<Result<std::vector<AuditEntry>>>();
  auto work = [out, before, limit](RecordDatabase& database) { *out = database.audit(before, limit); };
  auto done = [out, then](bool is_done) {
    then(is_done ? std::move(*out) : decltype(out)::element_type(ended()));
  };
  if (!thread_.post(std::move(work), std::move(done)))
    then(fail(ErrorCode::kUnavailable, "too much waits for the hub's database; try again"));
}

void ThreadedStore::check_later() {
  if (closed_) return;
  check_timer_.after(options_.check_interval, [this] {
    // One at a time: the next is set when this one is done.
    auto out = std::make_shared<Result<>>();
    auto ticket = thread_.post([out](RecordDatabase& database) { *out = database.check(); },
                               [this, out](bool is_done) {
                                 if (is_done) note(error_of(*out));
                                 if (is_done && watch_) told_of_commit(std::nullopt);
                                 check_later();
                               });
    if (!ticket) check_later();
  });
}

// One error is like another for the log that grows meanwhile: the next commit tells it.
void ThreadedStore::prune_after(Duration delay) {
  if (closed_) return;
  prune_timer_.after(delay, [this] {
    auto has_more = std::make_shared<bool>(false);
    auto work = [has_more, keep = options_.audit_entries](RecordDatabase& database) {
      *has_more = database.prune_audit(keep).value_or(false);
    };
    auto done = [this, has_more](bool is_done) {
      prune_after(is_done && *has_more ? Duration::zero() : options_.prune_interval);
    };
    if (!thread_.post(std::move(work), std::move(done))) prune_after(options_.prune_interval);
  });
}

void ThreadedStore::told_of_commit(std::optional<uint64_t> revision) {
  if (!closed_ && on_commit_) on_commit_(revision);
}

void ThreadedStore::close(Batch last, std::function<void(Result<CommitOutcome>)> then) {
  if (std::exchange(closed_, true)) return;
  check_timer_.cancel();
  prune_timer_.cancel();
  repeat_timer_.cancel();
  watch_.reset();
  if (unknown_) write(unknown_);
  if (!last.empty()) {
    auto out = std::make_shared<Result<CommitOutcome>>();
    thread_.post_last([out, last = std::move(last), left_at = left_at_, id = loop_.random().u64()](
                          RecordDatabase& database) { *out = write_last(database, *left_at, last, id); },
                      [out, then](bool is_done) {
                        then(is_done ? std::move(*out) : decltype(out)::element_type(ended()));
                      });
  }
  thread_.close(options_.close_time);
}

}  // namespace culvert::hub
