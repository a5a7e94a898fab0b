#include "hub/store_sqlite.h"

#include <functional>
#include <set>

#include "base/encoding.h"
#include "base/log.h"
#include "base/secret.h"
#include "hub/invite_index.h"
#include "hub/store_database.h"
#include "hub/store_thread.h"

namespace culvert::hub {
namespace {

using HashKey = SecretBytes<StoreDatabase::kHashKeySize>;

// The database could not do it; kConflict and kLimit are answers of one that works.
template <class T>
bool was_refused(const Result<T>& result) {
  return !result && (result.error().code == ErrorCode::kIo || result.error().code == ErrorCode::kClosed);
}

class SqliteStore final : public Store {
 public:
  SqliteStore(net::EventLoop& loop, std::unique_ptr<StoreDatabase> database, InviteIndex index,
              StoreOptions options)
      : loop_(loop),
        options_(options),
        hash_key_(HashKey::from(database->hash_key())),
        index_(std::move(index)),
        retry_timer_(loop),
        check_timer_(loop),
        thread_(loop, std::move(database), options.max_waiting) {
    check_later();
  }
  ~SqliteStore() override { close(); }

  ByteView hash_key() const override { return hash_key_.expose(); }
  net::Task<Result<>> add_invite(Invite invite, UnixTime now) override;
  net::Task<Result<std::optional<Invite>>> find_invite(InviteId id) override;
  net::Task<Result<std::vector<Invite>>> list_invites(std::optional<InviteId> after, size_t limit) override;
  Result<> revoke_now(const InviteId& id) override { return index_.revoke(id); }
  net::Task<Result<>> store_revocation(InviteId id) override;
  size_t unstored_revocations() const override { return index_.unstored_revocations().size(); }
  void close() override;

 private:
  // Done by the thread; the result is for `apply`, on the loop, whether the caller still waits for it or not,
  // and then for the caller.
  template <class T>
  net::Task<Result<T>> ask(std::move_only_function<Result<T>(StoreDatabase&)> work,
                           std::move_only_function<void(const Result<T>&, bool awaited)> apply);
  void retry_later();
  void store_revocations();
  void check_later();

  net::EventLoop& loop_;
  const StoreOptions options_;
  const HashKey hash_key_;
  InviteIndex index_;
  net::Timer retry_timer_;
  net::Timer check_timer_;
  bool retry_set_ = false;
  bool closed_ = false;
  StoreThread thread_;
};

template <class T>
net::Task<Result<T>> SqliteStore::ask(std::move_only_function<Result<T>(StoreDatabase&)> work,
                                      std::move_only_function<void(const Result<T>&, bool awaited)> apply) {
  struct Call {
    explicit Call(net::EventLoop& loop) : ended(loop) {}
    net::Notify ended;
    std::optional<Result<T>> result;
    bool awaited = true;
  };
  // Written on the thread before the loop hears of it; never shared after the thread has left it.
  auto out = std::make_shared<std::optional<Result<T>>>();
  auto call = std::make_shared<Call>(loop_);
  auto ticket =
      thread_.post([out, job = std::move(work)](StoreDatabase& database) mutable { *out = job(database); },
                   [this, out, call, after = std::move(apply)](bool done) mutable {
                     if (done) {
                       if (call->awaited && was_refused(**out)) ++counters_.refused;
                       after(**out, call->awaited);
                       call->result = std::move(*out);
                     } else {
                       call->result = fail(ErrorCode::kUnavailable, "the hub ends");
                     }
                     call->ended.notify();
                   });
  if (!ticket) {
    ++counters_.refused_full;
    co_return fail(ErrorCode::kUnavailable,
                   "the hub's database is busy and too much waits for it already; nothing was changed, try "
                   "again");
  }
  const TimePoint deadline = loop_.now() + options_.answer_time;
  bool in_time = true;
  while (!call->result && in_time) in_time = co_await call->ended.wait_until(deadline);
  if (call->result) co_return std::move(*call->result);
  ++counters_.timed_out;
  call->awaited = false;
  (void)thread_.cancel(*ticket);
  co_return fail(ErrorCode::kUnavailable, "the hub's database did not answer in time; try again");
}

net::Task<Result<>> SqliteStore::add_invite(Invite invite, UnixTime now) {
  using Added = StoreDatabase::Added;
  // The index has what the database has: it changes when the database has changed, even if the caller no
  // longer waits.
  std::set<InviteId> revocations = index_.unstored_revocations();
  auto apply = [this, invite, revocations](const Result<Added>& added, bool awaited) {
    if (!added) return;
    index_.mark_stored(revocations);
    if (added->removed) index_.erase(*added->removed);
    index_.insert(added->sequence, invite);
    if (awaited) return;
    log_warn("invite_revoked", "invite={} meaning={}", to_base64url(invite.id),
             culvert::quoted("it was stored too late for its token to be shown"));
    (void)index_.revoke(invite.id);
    retry_later();
  };
  auto work = [invite = std::move(invite), now, revocations](StoreDatabase& database) {
    return database.add_invite(invite, now, revocations, kMaxInvites);
  };
  auto added = co_await ask<Added>(std::move(work), std::move(apply));
  if (!added) co_return std::unexpected(added.error());
  co_return Result<>();
}

net::Task<Result<std::optional<Invite>>> SqliteStore::find_invite(InviteId id) {
  auto found = index_.find(id);
  if (!found) co_return std::unexpected(found.error());
  co_return *found ? std::optional(**found) : std::nullopt;
}

net::Task<Result<std::vector<Invite>>> SqliteStore::list_invites(std::optional<InviteId> after,
                                                                 size_t limit) {
  co_return index_.list(after, limit);
}

net::Task<Result<>> SqliteStore::store_revocation(InviteId id) {
  std::set<InviteId> ids{id};
  auto apply = [this, ids](const Result<>& stored, bool /*awaited*/) {
    if (stored) index_.mark_stored(ids);
  };
  auto work = [ids](StoreDatabase& database) { return database.store_revocations(ids); };
  auto stored = co_await ask<void>(std::move(work), std::move(apply));
  if (!stored) retry_later();
  co_return stored;
}

void SqliteStore::retry_later() {
  if (closed_ || retry_set_ || index_.unstored_revocations().empty()) return;
  retry_set_ = true;
  retry_timer_.after(options_.retry, [this] {
    retry_set_ = false;
    store_revocations();
  });
}

void SqliteStore::store_revocations() {
  std::set<InviteId> ids = index_.unstored_revocations();
  if (ids.empty()) return;
  auto out = std::make_shared<Result<>>();
  auto ticket = thread_.post([out, ids](StoreDatabase& database) { *out = database.store_revocations(ids); },
                             [this, out, ids](bool done) {
                               if (done && *out) {
                                 index_.mark_stored(ids);
                                 log_info("invite_revocations_stored", "count={}", ids.size());
                               }
                               retry_later();
                             });
  if (!ticket) retry_later();
}

void SqliteStore::check_later() {
  if (closed_) return;
  check_timer_.after(options_.check_interval, [this] {
    // One at a time: the next is set when this one is done. It logs by itself.
    auto ticket = thread_.post([](StoreDatabase& database) { (void)database.check_file(); },
                               [this](bool /*done*/) { check_later(); });
    if (!ticket) check_later();
  });
}

void SqliteStore::close() {
  if (std::exchange(closed_, true)) return;
  retry_timer_.cancel();
  check_timer_.cancel();
  std::set<InviteId> ids = index_.unstored_revocations();
  if (!ids.empty()) {
    auto out = std::make_shared<Result<>>();
    thread_.post_last([out, ids](StoreDatabase& database) { *out = database.store_revocations(ids); },
                      [this, out, ids](bool done) {
                        if (done && *out) index_.mark_stored(ids);
                      });
  }
  thread_.close(options_.close_time);
  for (const InviteId& id : index_.unstored_revocations()) {
    log_error("invite_revocation_lost", "invite={} meaning={}", to_base64url(id),
              culvert::quoted("revoke it again after the next start"));
  }
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(net::EventLoop& loop, const std::filesystem::path& path,
                                                 Random& random, StoreOptions options) {
  auto database = StoreDatabase::open(path, random, options.busy_time);
  if (!database) return std::unexpected(database.error());
  auto rows = (*database)->load();
  if (!rows) return std::unexpected(rows.error());
  InviteIndex index;
  for (StoreDatabase::Row& row : *rows) {
    if (row.invite) {
      index.insert(row.sequence, std::move(*row.invite));
      continue;
    }
    log_error("hub_invite_damaged", "invite={} reason={}", to_base64url(row.id),
              culvert::quoted(row.invite.error().message));
    index.insert_damaged(row.id);
  }
  return std::make_unique<SqliteStore>(loop, std::move(*database), std::move(index), options);
}

}  // namespace culvert::hub
