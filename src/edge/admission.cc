#include "edge/admission.h"

#include "edge/shared.h"

namespace culvert::edge {

void Admission::Pending::detach() {
  if (owner_ != nullptr) owner_->sockets_.erase(place_.id());
  owner_ = nullptr;
}

void Admission::Pending::attach(Admission& owner, net::ByteStream& socket) {
  owner_ = &owner;
  owner.sockets_.emplace(place_.id(), &socket);
  place_.move_to(owner.worker_);
}

std::optional<Admission::Admitted> Admission::admit(net::ByteStream& socket, bool from_proxy) {
  const size_t max_connections = shared_.options.get()->max_connections;
  auto slot = ConnectionSlot::take(shared_.counters, max_connections);
  if (!slot) {
    refusals_.connections_full(max_connections);
    return std::nullopt;
  }
  if (shared_.overload.state(Overload::Resource::kMemory) == OverloadState::kFull) {
    refusals_.overload();
    return std::nullopt;
  }
  if (!from_proxy && !take_source(*slot, socket.remote_addr())) return std::nullopt;
  auto admitted = from_proxy ? shared_.unserved.admit_from_proxy(worker_)
                             : shared_.unserved.admit(socket.remote_addr(), worker_);
  if (admitted.dropped) evict(*admitted.dropped);
  if (!admitted.place) {
    refusals_.hellos_full(shared_.unserved.limits().total);
    return std::nullopt;
  }
  return Admitted{std::move(*slot), Pending(*this, socket, std::move(*admitted.place))};
}

bool Admission::identify(ConnectionSlot& slot, Pending& pending, const SocketAddr& client) {
  if (!take_source(slot, client)) return false;
  if (const auto dropped = pending.place_.move_to_source(client)) evict(*dropped);
  return true;
}

// False: a limit was met.
bool Admission::take_source(ConnectionSlot& slot, const SocketAddr& client) {
  using enum SourcePlaces::Refusal;
  const auto refusal =
      slot.take_source(shared_.sources, client, loop_.now(), {.equal_part_of = shared_.scarce_connections()});
  if (!refusal) return true;
  const SourcePlaces::Limits limits = shared_.sources.limits();
  switch (*refusal) {
    case kRate:
      refusals_.client_rate(client, limits.each_per_second);
      break;
    case kFull:
    case kAllFull:
      refusals_.client_full(client, limits.each, shared_.overload.state());
      break;
    case kAllRate:
      refusals_.connection_rate(limits.all_per_second);
      break;
  }
  return false;
}

void Admission::evict(const Unserved::Entry& entry) {
  refusals_.source_full(shared_.unserved.limits().per_source);
  shared_.workers[entry.worker]->drop_pending(entry.id);
}

void Admission::drop(uint64_t id) {
  if (auto socket = sockets_.find(id); socket != sockets_.end()) socket->second->reset();
}

void Admission::drop_all() {
  for (const auto& [id, socket] : sockets_) socket->reset();
}

}  // namespace culvert::edge
