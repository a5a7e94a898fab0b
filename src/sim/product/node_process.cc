#include "sim/product/node_process.h"

#include "base/check.h"

namespace culvert::sim {

NodeProcess::NodeProcess(std::shared_ptr<Machine> machine, const NodeIdentity& identity)
    : machine_(std::move(machine)), loop_(*machine_), closing_(loop_) {
  edge::Options options;
  options.tcp_listen = options.udp_listen = identity.address;
  options.workers = identity.workers;
  node::Assembly::Parts parts{.key = identity.key,
                              .ca = tls::InternalCa::load(identity.ca).value(),
                              .edge_addrs = {},
                              .edge = options,
                              .operator_key = identity.operator_key,
                              .is_edge = identity.is_edge,
                              .token = identity.token,
                              .route_file = identity.route_file,
                              .acme = identity.acme,
                              .hub_certificates = identity.hub_certificates};
  if (!identity.token) parts.store = std::make_unique<MemoryStore>(loop_, identity.disk);
  auto assembly = node::Assembly::open(loop_, std::move(parts));
  CHECK(assembly);
  assembly_ = std::move(*assembly);
  assembly_->start([this] { closing_.spawn(finish()); });
}

NodeProcess::~NodeProcess() { CHECK(has_ended()); }

net::Task<> NodeProcess::finish() {
  assembly_->close();
  co_await assembly_->closed();
  ended_at_ = loop_.now();
}

bool NodeProcess::has_ended() const { return ended_at_ && closing_.size() == 0; }

void NodeProcess::stop() {
  if (!stopped_at_) stopped_at_ = loop_.now();
  loop_.post([this] { assembly_->stop(); });
}

void NodeProcess::kill() {
  machine_->unplug();
  stop();
  stop();  // without a drain
}

}  // namespace culvert::sim
