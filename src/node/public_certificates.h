#pragma once
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "acme/challenge_table.h"
#include "acme/file_store.h"
#include "acme/manager.h"
#include "net/event_loop.h"
#include "node/dns_challenges.h"
#include "node/node_certificates.h"
#include "node/wanted_names.h"
#include "tls/certificates.h"

namespace culvert::node {

// Certificates that an edge without a hub in its process orders for itself, from a CA of its own
// configuration.
class PublicCertificates final : public NodeCertificates {
 public:
  struct Parts {
    acme::ManagerOptions manager;                      // with one CA at least
    std::filesystem::path directory;                   // of accounts and certificates; made when missing
    std::set<acme::ChallengeType> edge_challenges;     // that the edge answers
    std::shared_ptr<acme::ChallengeTable> challenges;  // that it looks up
    DnsChallenges* dns = nullptr;                      // outlives this; nullptr: none are proven by DNS
    std::shared_ptr<tls::Certificates> certificates;   // that get what is issued
  };
  // kIo, kInvalid: the directory cannot be used.
  static Result<std::unique_ptr<PublicCertificates>> open(net::EventLoop& loop, Parts parts);
  PublicCertificates(const PublicCertificates&) = delete;

  void follow(const route::Delta& changes) override { names_.follow(changes); }
  void replace(const route::Snapshot& routes) override { names_.replace(routes); }
  void start() override;
  void close() override;
  net::Task<> closed() override { return tasks_.join(); }
  std::vector<std::string> faults() const override;
  acme::Manager::Totals totals() const override { return manager_.totals(); }

 private:
  // By the edge, or by DNS.
  class Answerer final : public acme::Solver {
   public:
    Answerer(net::EventLoop& loop, const Parts& parts)
        : edge_(loop, *parts.challenges, parts.edge_challenges), dns_(parts.dns) {}

    bool can_answer(acme::ChallengeType type, const std::string& name) const override;
    net::Task<Result<>> publish(acme::Challenge challenge) override;
    void withdraw(const acme::Challenge& challenge) override;

   private:
    acme::TableSolver edge_;
    DnsChallenges* dns_;
  };

  PublicCertificates(net::EventLoop& loop, Parts parts, acme::FileStore store);

  const Parts parts_;
  acme::FileStore store_;
  Answerer answerer_;
  acme::Manager manager_;
  WantedNames names_;
  net::TaskGroup tasks_;
};

// Lines for people about the names that failed: the first ones, and how many more there are.
std::vector<std::string> certificate_faults(const std::vector<acme::Manager::Status>& statuses);

}  // namespace culvert::node
