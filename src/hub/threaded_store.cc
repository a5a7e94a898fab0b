#include "hub/threaded_store.h"

#include <utility>

namespace culvert::hub {
namespace {

// The commit that is under way, a check, and readers of the audit log.
constexpr size_t kMaxWaiting = 16;

auto ended() { return fail(ErrorCode::kUnavailable, "the hub ends"); }

}  // namespace

ThreadedStore::ThreadedStore(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database,
                             RecordDatabase::Content content, StoreOptions options)
    : options_(options),
      hash_key_(HashKey::from(database->hash_key())),
      content_(std::move(content)),
      check_timer_(loop),
      prune_timer_(loop),
      thread_(loop, std::move(database), kMaxWaiting) {
  check_later();
  prune_after(options_.check_interval);
}

Result<std::unique_ptr<RecordStore>> ThreadedStore::open(net::EventLoop& loop,
                                                         std::unique_ptr<RecordDatabase> database,
                                                         StoreOptions options) {
  auto content = database->load();
  if (!content) return std::unexpected(content.error());
  return std::unique_ptr<RecordStore>(
      new ThreadedStore(loop, std::move(database), std::move(*content), options));
}

void ThreadedStore::commit(uint64_t at, Batch batch, std::function<void(Result<CommitOutcome>)> then) {
  // Written on the thread before the loop hears of it; never shared after the thread has left it.
  auto out = std::make_shared<Result<CommitOutcome>>();
  auto work = [out, at, batch = std::move(batch), left_at = left_at_](RecordDatabase& database) {
    *out = database.commit(at, batch);
    if (*out) *left_at = (*out)->revision;
  };
  auto done = [out, then](bool is_done) {
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
    // One at a time: the next is set when this one is done. It logs by itself.
    auto ticket = thread_.post([](RecordDatabase& database) { (void)database.check(); },
                               [this](bool /*done*/) { check_later(); });
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

void ThreadedStore::close(Batch last, std::function<void(Result<CommitOutcome>)> then) {
  if (std::exchange(closed_, true)) return;
  check_timer_.cancel();
  prune_timer_.cancel();
  if (!last.empty()) {
    auto out = std::make_shared<Result<CommitOutcome>>();
    thread_.post_last([out, last = std::move(last), left_at = left_at_](
                          RecordDatabase& database) { *out = database.commit(*left_at, last); },
                      [out, then](bool is_done) {
                        then(is_done ? std::move(*out) : decltype(out)::element_type(ended()));
                      });
  }
  thread_.close(options_.close_time);
}

}  // namespace culvert::hub
