#include "edge/admission.h"

#include "base/check.h"
#include "edge/shared.h"

namespace culvert::edge {

void Admission::Pending::detach() {
  if (owner_ != nullptr) owner_->waiting_.erase(place_.id());
  owner_ = nullptr;
}

void Admission::Pending::attach(Admission& owner, net::ByteStream& socket) {
  owner_ = &owner;
  owner.waiting_.emplace(place_.id(), Waiting{&socket});
  place_.move_to(owner.worker_);
}

std::optional<CloseReason> Admission::Pending::dropped() const {
  return owner_ == nullptr ? std::nullopt : owner_->waiting_.at(place_.id()).dropped;
}

std::expected<Admission::Admitted, CloseReason> Admission::admit(net::ByteStream& socket, bool from_proxy) {
  const size_t max_connections = shared_.options.get()->max_connections;
  auto slot = ConnectionSlot::take(shared_.counters, max_connections);
  if (!slot) {
    refusals_.connections_full(max_connections);
    return std::unexpected(CloseReason::kMaxConnections);
  }
  if (shared_.overload.state(Overload::Resource::kMemory) == OverloadState::kFull) {
    refusals_.overload();
    return std::unexpected(CloseReason::kOverload);
  }
  const auto refusal = from_proxy ? std::nullopt : take_source(*slot, socket.remote_addr());
  if (refusal) return std::unexpected(*refusal);
  auto admitted = from_proxy ? shared_.unserved.admit_from_proxy(worker_)
                             : shared_.unserved.admit(socket.remote_addr(), worker_);
  if (admitted.dropped) evict(*admitted.dropped);
  if (!admitted.place) {
    refusals_.hellos_full(shared_.unserved.limits().total);
    return std::unexpected(CloseReason::kMaxHandshakes);
  }
  return Admitted{std::move(*slot), Pending(*this, socket, std::move(*admitted.place))};
}

std::optional<CloseReason> Admission::identify(ConnectionSlot& slot, Pending& pending,
                                               const SocketAddr& client) {
  const auto refusal = take_source(slot, client);
  if (refusal) return refusal;
  if (const auto dropped = pending.place_.move_to_source(client)) evict(*dropped);
  return std::nullopt;
}

// Returns the limit that was met.
std::optional<CloseReason> Admission::take_source(ConnectionSlot& slot, const SocketAddr& client) {
  using enum SourcePlaces::Refusal;
  const auto refusal =
      slot.take_source(shared_.sources, client, loop_.now(), {.equal_part_of = shared_.scarce_connections()});
  if (!refusal) return std::nullopt;
  const SourcePlaces::Limits limits = shared_.sources.limits();
  switch (*refusal) {
    case kRate:
      refusals_.client_rate(client, limits.each_per_second);
      return CloseReason::kClientRate;
    case kFull:
    case kAllFull:
      refusals_.client_full(client, limits.each, shared_.overload.state());
      return CloseReason::kClientFull;
    case kAllRate:
      refusals_.connection_rate(limits.all_per_second);
      return CloseReason::kConnectionRate;
  }
  CHECK(false);
}

void Admission::evict(const Unserved::Entry& entry) {
  refusals_.source_full(shared_.unserved.limits().per_source);
  shared_.workers[entry.worker]->drop_pending(entry.id);
}

void Admission::drop(uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  found->second.dropped = CloseReason::kSourceFull;
  found->second.socket->reset();
}

void Admission::drop_all() {
  for (auto& [id, waiting] : waiting_) {
    waiting.dropped = CloseReason::kDrained;
    waiting.socket->reset();
  }
}

}  // namespace culvert::edge
