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
#include "route/snapshot.h"
#include "tls/certificates.h"

namespace culvert::node {

// Certificates of a public CA for the names that this node ends TLS for: those of terminated routes with a
// live agent, and the hub's own. Lives on the control loop.
class PublicCertificates {
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

  // Names of the node itself; those that no CA can know, as addresses, are left out.
  void want_own(const std::vector<std::string>& names);
  // After the routes changed, and in place of all that were there.
  void follow(const route::Delta& changes);
  void replace(const route::Snapshot& routes);

  void start();
  // Orders that run are given up.
  void close();
  net::Task<> closed() { return tasks_.join(); }

  // What is wrong with which name, and when it is tried again.
  std::vector<std::string> faults() const;
  acme::Manager::Totals totals() const { return manager_.totals(); }

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

  bool is_wanted(const route::Route& route) const;
  void want(const std::string& name, const std::string& tenant);
  void unwant(const std::string& name);

  net::EventLoop& loop_;
  const Parts parts_;
  acme::FileStore store_;
  Answerer answerer_;
  acme::Manager manager_;
  std::set<std::string> own_;
  std::set<std::string> wanted_;  // of routes
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
