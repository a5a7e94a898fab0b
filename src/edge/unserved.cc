#include "edge/unserved.h"

#include <utility>

namespace culvert::edge {

Unserved::Place::Place(Place&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), source_(std::move(other.source_)), id_(other.id_) {}

Unserved::Place& Unserved::Place::operator=(Place&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(source_, other.source_);
  std::swap(id_, other.id_);
  return *this;
}

Unserved::Place::~Place() {
  if (owner_ != nullptr) owner_->give_back(source_, id_);
}

void Unserved::Place::move_to(unsigned worker) {
  std::lock_guard lock(owner_->mutex_);
  auto source = owner_->by_source_.find(source_);
  if (source == owner_->by_source_.end()) return;
  auto entry = source->second.find(id_);
  if (entry != source->second.end()) entry->second = worker;
}

Unserved::Admitted Unserved::admit(const SocketAddr& client, unsigned worker) {
  std::string source = client.source_prefix();
  std::lock_guard lock(mutex_);
  Admitted admitted;
  auto entries = by_source_.find(source);
  if (entries != by_source_.end() && entries->second.size() >= limits_.per_source) {
    auto oldest = entries->second.begin();
    admitted.dropped = Entry{oldest->second, oldest->first};
    entries->second.erase(oldest);
    --size_;
  }
  if (size_ >= limits_.total) return admitted;
  ++size_;
  by_source_[source].emplace(++ids_, worker);
  admitted.place.emplace(Place(this, std::move(source), ids_));
  return admitted;
}

void Unserved::give_back(const std::string& source, uint64_t id) {
  std::lock_guard lock(mutex_);
  auto entries = by_source_.find(source);
  if (entries == by_source_.end()) return;
  size_ -= entries->second.erase(id);
  if (entries->second.empty()) by_source_.erase(entries);
}

}  // namespace culvert::edge
