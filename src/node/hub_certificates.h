#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "acme/challenge_table.h"
#include "acme/file_store.h"
#include "acme/manager.h"
#include "acme/usable_certificate.h"
#include "hub/certificate_status.h"
#include "hub/shared_certificates.h"
#include "net/event_loop.h"
#include "node/dns_challenges.h"
#include "node/node_certificates.h"
#include "node/wanted_names.h"
#include "tls/certificates.h"

namespace culvert::node {

// Certificates of a node with a hub. They are in the hub's database, for all of its hubs and edges: one hub
// orders, each gives what it reads there to the edge in its process and to those that follow it. Lives on the
// control loop.
class HubCertificates final : public NodeCertificates {
 public:
  struct Parts {
    std::shared_ptr<hub::SharedCertificates> shared;
    std::optional<acme::ManagerOptions> manager;  // nullopt: this hub orders none
    // Of a node that kept its certificates in files: they are taken over, and the directory is renamed.
    std::filesystem::path former_directory;
    std::set<acme::ChallengeType> own_challenges;      // that listeners of this process answer
    bool is_edge;                                      // agents connect to this process
    std::shared_ptr<acme::ChallengeTable> challenges;  // that the listeners look up
    DnsChallenges* dns = nullptr;                      // outlives this; nullptr: none are proven by DNS
    std::shared_ptr<tls::Certificates> certificates;   // that the listeners serve
  };
  // Serves what is stored, for the names of `own` and of the routes that follow.
  HubCertificates(net::EventLoop& loop, Parts parts, const std::vector<std::string>& own);
  HubCertificates(const HubCertificates&) = delete;

  void follow(const route::Delta& changes) override { names_.follow(changes); }
  void replace(const route::Snapshot& routes) override { names_.replace(routes); }
  void start() override { tasks_.spawn(tend()); }
  void close() override;
  net::Task<> closed() override;
  std::vector<std::string> faults() const override;
  acme::Manager::Totals totals() const override;

  // For the hub's API.
  std::vector<hub::CertificateStatus> list(const std::string& after, size_t most) const;
  hub::CertificateTotals shown_totals() const;

 private:
  // By all edges, or by DNS.
  class Answerer final : public acme::Solver {
   public:
    explicit Answerer(HubCertificates& of) : of_(of) {}
    bool can_answer(acme::ChallengeType type, const std::string& name) const override;
    net::Task<Result<>> publish(acme::Challenge challenge) override;
    void withdraw(const acme::Challenge& challenge) override;

   private:
    HubCertificates& of_;
  };
  struct Served {
    std::string chain;
    acme::Validity validity;
  };

  net::Task<> tend();
  net::Task<> take_back(acme::Challenge challenge);
  net::Task<> begin_ordering();
  void stop_ordering();
  Result<> open_former();
  net::Task<Result<>> take_over_files();
  static net::Task<> run(std::shared_ptr<acme::Manager> manager) { co_await manager->run(); }

  void want(const std::string& name, const std::string& tenant);
  void order(const std::string& name, const std::string& tenant);
  void order_of_routes();
  void unwant(const std::string& name);
  // The record of this name has changed.
  void stored(const std::string& name);
  // Serves what is stored for a wanted name.
  void refresh(const std::string& name);
  void note_failure(const std::string& name, const std::optional<acme::Record>& record);
  // If it is not older than what is served.
  void serve(const std::string& name, const acme::StoredCertificate& stored);
  hub::CertificateStatus status_of(const std::string& name) const;
  bool is_waiting_for_edges() const { return manager_ && !edges_are_there_ && !names_.of_routes().empty(); }

  net::EventLoop& loop_;
  const Parts parts_;
  hub::SharedCertificates& shared_;
  std::optional<acme::FileStore> former_;
  TimePoint take_over_at_ = TimePoint::min();
  Answerer answerer_{*this};
  WantedNames names_;
  std::map<std::string, Served> served_;
  std::set<std::string> failing_;           // of the names, as their records say
  std::shared_ptr<acme::Manager> manager_;  // nullptr: another hub orders, or none yet
  bool edges_are_there_ = false;            // challenges of routes can be answered
  bool is_closing_ = false;
  net::Notify closing_;
  net::TaskGroup withdrawals_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
