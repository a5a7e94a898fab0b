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
  auto admitted = from_proxy ? shared_.unserved.admit_from_proxy(worker_)
                             : shared_.unserved.admit(socket.remote_addr(), worker_);
  if (admitted.dropped) evict(*admitted.dropped);
  if (!admitted.place) {
    refusals_.hellos_full(shared_.unserved.limits().total);
    return std::nullopt;
  }
  return Admitted{std::move(*slot), Pending(*this, socket, std::move(*admitted.place))};
}

void Admission::identify(Pending& pending, const SocketAddr& client) {
  if (const auto dropped = pending.place_.move_to_source(client)) evict(*dropped);
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
