#pragma once
#include <filesystem>
#include <memory>
#include <optional>

#include "edge/counters.h"
#include "node/assembly.h"
#include "sim/machine.h"
#include "sim/product/memory_store.h"

// Tests only: a node on a simulated machine.
namespace culvert::sim {

// What every start of one node has in common.
struct NodeIdentity {
  SecretKey key;
  SecretString operator_key;
  tls::InternalCa::Pem ca;
  SocketAddr address;
  unsigned workers;
  std::shared_ptr<Disk> disk;
  bool is_edge = true;                                    // besides the hub
  std::optional<hubapi::EdgeToken> token = std::nullopt;  // of an edge without a hub
  std::filesystem::path route_file = {};                  // of such an edge, on the real disk
  std::filesystem::path hub_certificates = {};            // the same
  acme::Options acme = {};
};

// One start of a node: from its construction until has_ended(), after stop() or kill().
class NodeProcess {
 public:
  NodeProcess(std::shared_ptr<Machine> machine, const NodeIdentity& identity);
  ~NodeProcess();
  NodeProcess(const NodeProcess&) = delete;

  Machine& machine() { return *machine_; }
  // As after a SIGTERM: drains.
  void stop();
  // As after a SIGKILL, for all others: nothing of it is heard any more. What runs ends unheard.
  void kill();
  // Nothing is left to run.
  bool has_ended() const;
  // How long its end took, from stop() or kill().
  Duration ending_time() const { return *ended_at_ - *stopped_at_; }
  bool is_stopping() const { return stopped_at_.has_value(); }

  const edge::Counters& counters() const { return assembly_->edge().counters(); }
  size_t leases() const { return assembly_->hub_status().leases; }
  size_t edges_following() const { return assembly_->hub_status().edges_following; }

 private:
  net::Task<> finish();

  std::shared_ptr<Machine> machine_;
  net::EventLoop loop_;
  net::TaskGroup closing_;
  std::unique_ptr<node::Assembly> assembly_;
  std::optional<TimePoint> stopped_at_;
  std::optional<TimePoint> ended_at_;
};

}  // namespace culvert::sim
