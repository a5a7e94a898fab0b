#include "sim/product/memory_store.h"

#include "base/check.h"

namespace culvert::sim {
namespace {

constexpr uint64_t kMostMilliseconds = 50;

}  // namespace

MemoryStore::MemoryStore(net::EventLoop& loop, std::shared_ptr<Disk> disk)
    : loop_(loop), disk_(std::move(disk)), timer_(loop) {
  if (disk_->hash_key.empty()) {
    disk_->hash_key.resize(32);
    loop.random().fill(disk_->hash_key);
  }
}

std::vector<hub::Record> MemoryStore::take_records() {
  std::vector<hub::Record> records;
  for (const auto& [key, record] : disk_->records) records.push_back(record);
  return records;
}

void MemoryStore::write(const hub::Batch& batch) {
  ++disk_->revision;
  for (const hub::Record& record : batch.records) {
    if (record.body) {
      disk_->records[{record.kind, record.key}] = record;
    } else {
      disk_->records.erase({record.kind, record.key});
    }
  }
}

void MemoryStore::commit(uint64_t at, hub::Batch batch,
                         std::function<void(Result<hub::CommitOutcome>)> then) {
  CHECK(at == disk_->revision && !then_);
  then_ = std::move(then);
  timer_.after(disk_->slowness + std::chrono::milliseconds(loop_.random().below(kMostMilliseconds)),
               [this, batch = std::move(batch)] {
                 write(batch);
                 std::exchange(then_, nullptr)(hub::CommitOutcome{.revision = disk_->revision});
               });
}

void MemoryStore::read_audit(std::optional<uint64_t> /*before*/, size_t /*limit*/,
                             std::function<void(Result<std::vector<hub::AuditEntry>>)> then) {
  then(fail(ErrorCode::kUnavailable, "the simulated disk keeps no audit log"));
}

void MemoryStore::close(hub::Batch /*last*/, std::function<void(Result<hub::CommitOutcome>)> /*then*/) {
  timer_.cancel();
  if (then_) std::exchange(then_, nullptr)(fail(ErrorCode::kUnavailable, "the hub ends"));
}

}  // namespace culvert::sim
