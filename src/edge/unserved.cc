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

std::optional<Unserved::Entry> Unserved::Place::move_to_source(const SocketAddr& client) {
  std::lock_guard lock(owner_->mutex_);
  auto old = owner_->by_source_.find(source_);
  auto entry =
      old == owner_->by_source_.end() ? std::map<uint64_t, unsigned>::node_type() : old->second.extract(id_);
  if (entry.empty()) return std::nullopt;
  if (old->second.empty()) owner_->by_source_.erase(old);
  source_ = client.source_prefix();
  const auto dropped = owner_->drop_oldest(source_, owner_->limits_.per_source);
  owner_->by_source_[source_].insert(std::move(entry));
  return dropped;
}

Unserved::Limits Unserved::limits() const {
  std::lock_guard lock(mutex_);
  return limits_;
}

size_t Unserved::size() const {
  std::lock_guard lock(mutex_);
  return size_;
}

void Unserved::set_limits(Limits limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

Unserved::Admitted Unserved::admit(const SocketAddr& client, unsigned worker) {
  std::lock_guard lock(mutex_);
  return admit_locked(client.source_prefix(), limits_.per_source, worker);
}

// Prefixes of addresses are never empty.
Unserved::Admitted Unserved::admit_from_proxy(unsigned worker) {
  std::lock_guard lock(mutex_);
  return admit_locked("", limits_.total, worker);
}

Unserved::Admitted Unserved::admit_locked(std::string source, size_t per_source, unsigned worker) {
  Admitted admitted;
  admitted.dropped = drop_oldest(source, per_source);
  if (size_ >= limits_.total) return admitted;
  ++size_;
  by_source_[source].emplace(++ids_, worker);
  admitted.place.emplace(Place(this, std::move(source), ids_));
  return admitted;
}

std::optional<Unserved::Entry> Unserved::drop_oldest(const std::string& source, size_t per_source) {
  auto entries = by_source_.find(source);
  if (entries == by_source_.end() || entries->second.size() < per_source) return std::nullopt;
  auto oldest = entries->second.begin();
  const Entry dropped{oldest->second, oldest->first};
  entries->second.erase(oldest);
  --size_;
  return dropped;
}

void Unserved::give_back(const std::string& source, uint64_t id) {
  std::lock_guard lock(mutex_);
  auto entries = by_source_.find(source);
  if (entries == by_source_.end()) return;
  size_ -= entries->second.erase(id);
  if (entries->second.empty()) by_source_.erase(entries);
}

}  // namespace culvert::edge
