#pragma once
#include <memory>

#include "base/secret.h"
#include "hub/record_database.h"
#include "hub/record_store.h"
#include "hub/store_thread.h"

namespace culvert::hub {

// A RecordStore over a database that blocks, which gets a thread of its own.
class ThreadedStore final : public RecordStore {
 public:
  // Reads the database; blocks. Errors: those of RecordDatabase::load().
  static Result<std::unique_ptr<RecordStore>> open(net::EventLoop& loop,
                                                   std::unique_ptr<RecordDatabase> database,
                                                   StoreOptions options);
  // The same with what was read from it before.
  static std::unique_ptr<RecordStore> over(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database,
                                           RecordDatabase::Content content, StoreOptions options);
  ~ThreadedStore() override;

  ThreadedStore(const ThreadedStore&) = delete;

  ByteView hash_key() const override { return hash_key_.expose(); }
  uint64_t revision() const override { return content_.revision; }
  std::vector<Record> take_records() override { return std::move(content_.records); }
  void commit(uint64_t at, Batch batch, std::function<void(Result<CommitOutcome>)> then) override;
  void read_audit(std::optional<uint64_t> before, size_t limit,
                  std::function<void(Result<std::vector<AuditEntry>>)> then) override;
  bool is_shared() const override { return watch_ != nullptr; }
  void set_on_commit(std::function<void(std::optional<uint64_t>)> on_commit) override {
    on_commit_ = std::move(on_commit);
  }
  void read_newer(uint64_t after, std::function<void(Result<CommitOutcome>)> then) override;
  std::optional<std::string> fault() const override { return fault_; }
  void close(Batch last, std::function<void(Result<CommitOutcome>)> then) override;

 private:
  using HashKey = SecretBytes<RecordDatabase::kHashKeySize>;

  ThreadedStore(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database,
                RecordDatabase::Content content, StoreOptions options);
  struct Flight;
  void write(std::shared_ptr<Flight> flight);
  void landed(const std::shared_ptr<Flight>& flight, bool is_done);
  void check_later();
  void prune_after(Duration delay);
  void told_of_commit(std::optional<uint64_t> revision);
  // What the last call says of the database.
  void note(const std::optional<Error>& error);

  net::EventLoop& loop_;
  const StoreOptions options_;
  const HashKey hash_key_;
  RecordDatabase::Content content_;
  // Of the database as the last commit left it; the thread's.
  const std::shared_ptr<uint64_t> left_at_ = std::make_shared<uint64_t>(content_.revision);
  net::Timer check_timer_;
  std::shared_ptr<Flight> unknown_;  // of a commit whose connection was lost, until its outcome is known
  net::Timer repeat_timer_;
  net::Timer prune_timer_;
  bool closed_ = false;
  std::optional<std::string> fault_;
  std::function<void(std::optional<uint64_t>)> on_commit_;
  // For what the watch has posted; only the loop's thread looks behind it.
  const std::shared_ptr<ThreadedStore*> self_ = std::make_shared<ThreadedStore*>(this);
  std::unique_ptr<CommitWatch> watch_;
  StoreThread thread_;
};

}  // namespace culvert::hub
