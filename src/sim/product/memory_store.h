#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "hub/record_store.h"

// Tests only: records on a simulated disk.
namespace culvert::sim {

// What survives the node that wrote it.
struct Disk {
  Bytes hash_key;
  uint64_t revision = 0;
  Duration slowness = {};  // that each write takes besides its random while
  std::map<std::pair<std::string, std::string>, hub::Record> records;  // by kind and key
};

// Each write takes a random while; one that has not ended when the node is killed has not happened.
class MemoryStore final : public hub::RecordStore {
 public:
  MemoryStore(net::EventLoop& loop, std::shared_ptr<Disk> disk);

  ByteView hash_key() const override { return disk_->hash_key; }
  uint64_t revision() const override { return disk_->revision; }
  std::vector<hub::Record> take_records() override;
  void commit(uint64_t at, hub::Batch batch, std::function<void(Result<hub::CommitOutcome>)> then) override;
  void read_audit(std::optional<uint64_t> before, size_t limit,
                  std::function<void(Result<std::vector<hub::AuditEntry>>)> then) override;
  // Nobody else writes to the disk.
  void set_on_commit(std::function<void(std::optional<uint64_t>)> /*on_commit*/) override {}
  void read_newer(uint64_t after, std::function<void(Result<hub::CommitOutcome>)> then) override {
    then(hub::CommitOutcome{.revision = after});
  }
  void close(hub::Batch last, std::function<void(Result<hub::CommitOutcome>)> then) override;

 private:
  void write(const hub::Batch& batch);

  net::EventLoop& loop_;
  std::shared_ptr<Disk> disk_;
  std::function<void(Result<hub::CommitOutcome>)> then_;  // of the write that is under way
  net::Timer timer_;
};

}  // namespace culvert::sim
