#include "hub/postgres_watch.h"

#include <condition_variable>
#include <mutex>

#include "base/log.h"
#include "base/whole_number.h"

namespace culvert::hub {

// The thread's own share of it; outlives both.
struct PostgresWatch::Shared {
  const PostgresUrl url;
  const PostgresConnection::Times times;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::function<void(std::optional<uint64_t>)> on_commit;
  std::shared_ptr<const Wakeup> wakeup;  // of the session that listens
  bool closing = false;
  bool ended = false;
  bool is_deaf = false;  // the thread's

  bool is_closing() {
    const std::lock_guard lock(mutex);
    return closing;
  }
  void pause() {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, kPause, [this] { return closing; });
  }
  void tell(std::optional<uint64_t> revision) {
    const std::lock_guard lock(mutex);
    if (on_commit) on_commit(revision);
  }
  Result<> listen();
};

// Until the session is lost, or the end.
Result<> PostgresWatch::Shared::listen() {
  auto connection = PostgresConnection::open(url, times);
  if (!connection) return std::unexpected(connection.error());
  auto wake = Wakeup::make();
  if (!wake) return std::unexpected(wake.error());
  const auto its_wakeup = std::make_shared<const Wakeup>(std::move(*wake));
  {
    const std::lock_guard lock(mutex);
    wakeup = its_wakeup;
  }
  auto listening = (*connection)->run(kListen);
  if (!listening) return std::unexpected(listening.error());
  if (std::exchange(is_deaf, false))
    log_info("hub_database_followed", "database={}", culvert::quoted(url.name()));
  tell(std::nullopt);  // what was committed while nobody listened
  while (!is_closing()) {
    auto payload = (*connection)->notification(times.statement, *its_wakeup);
    if (!payload) return std::unexpected(payload.error());
    if (*payload) {
      tell(whole_number<uint64_t>(**payload));
    } else if (!is_closing()) {
      // A session that was lost without a sign is noticed.
      auto alive = (*connection)->run("SELECT 1");
      if (!alive) return std::unexpected(alive.error());
    }
  }
  return {};
}

PostgresWatch::PostgresWatch(const PostgresUrl& url, const PostgresConnection::Times& times,
                             std::function<void(std::optional<uint64_t>)> on_commit)
    : shared_(new Shared{.url = url,
                         .times = times,
                         .mutex = {},
                         .changed = {},
                         .on_commit = std::move(on_commit),
                         .wakeup = nullptr}),
      thread_([shared = shared_] { run(shared); }) {}

void PostgresWatch::run(const std::shared_ptr<Shared>& shared) {
  while (!shared->is_closing()) {
    auto listened = shared->listen();
    if (listened || shared->is_closing()) break;
    if (!std::exchange(shared->is_deaf, true)) {
      log_warn("hub_database_not_followed", "database={} reason={} meaning={}",
               culvert::quoted(shared->url.name()), culvert::quoted(listened.error().message),
               culvert::quoted("what other hubs change is seen later; the hub connects again by itself"));
    }
    shared->pause();
  }
  const std::lock_guard lock(shared->mutex);
  shared->ended = true;
  shared->changed.notify_all();
}

PostgresWatch::~PostgresWatch() {
  bool has_ended;
  {
    std::unique_lock lock(shared_->mutex);
    shared_->closing = true;
    shared_->on_commit = nullptr;
    if (shared_->wakeup) shared_->wakeup->wake();
    shared_->changed.notify_all();
    has_ended = shared_->changed.wait_for(lock, kCloseTime, [this] { return shared_->ended; });
  }
  if (has_ended) {
    thread_.join();
  } else {
    // It looks up the server's name, which cannot be interrupted; nothing of ours is within its reach but
    // Shared.
    thread_.detach();
  }
}

}  // namespace culvert::hub
