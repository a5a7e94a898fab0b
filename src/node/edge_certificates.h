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
#include "acme/usable_certificate.h"
#include "hubapi/edge_client.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "node/node_certificates.h"
#include "tls/certificates.h"

namespace culvert::node {

// Certificates of an edge that has its hub on another host and no CA of its own: the hub gives them, and the
// challenges that the edge is to answer. They are kept in files, for a start while no hub answers.
class EdgeCertificates final : public NodeCertificates {
 public:
  struct Parts {
    hubapi::EdgeToken token;
    std::string run;                                    // of this start of the program, as HubLink has it
    std::filesystem::path directory;                    // made when missing
    std::set<acme::ChallengeType> challenges_answered;  // by the edge
    std::shared_ptr<acme::ChallengeTable> challenges;   // that it looks up
    std::shared_ptr<tls::Certificates> certificates;    // that it serves
  };
  // Serves what is kept. kIo, kInvalid: the directory cannot be used.
  static Result<std::unique_ptr<EdgeCertificates>> open(net::EventLoop& loop, Parts parts);
  EdgeCertificates(const EdgeCertificates&) = delete;

  // The hub follows the routes.
  void follow(const route::Delta&) override {}
  void replace(const route::Snapshot&) override {}

  void start() override { tasks_.spawn(follow_hub()); }
  void drain() override;
  void close() override {
    drain();
    tasks_.cancel();
  }
  net::Task<> closed() override { return tasks_.join(); }
  std::vector<std::string> faults() const override;
  acme::Manager::Totals totals() const override;

 private:
  struct Held {
    acme::StoredCertificate stored;
    acme::Validity validity;
  };

  EdgeCertificates(net::EventLoop& loop, Parts parts, std::optional<acme::FileStore> store);

  void load();
  net::Task<> follow_hub();
  void take(hubapi::CertificateUpdate update);
  void forget_all();
  void serve(const std::string& name, acme::StoredCertificate stored);
  void remove(const std::string& name);
  void answer(const hubapi::EdgeChallenge& challenge);
  void withdraw(const hubapi::EdgeChallenge& challenge);
  // Writes what has changed to the disk, a little at a time.
  net::Task<> keep();

  net::EventLoop& loop_;
  const Parts parts_;
  std::optional<acme::FileStore> store_;
  hubapi::EdgeClient client_;
  std::map<std::string, Held> held_;
  std::map<std::string, acme::Challenge> answered_;  // by type, name and token
  hubapi::CertificateRequest next_;
  // What came since a restart of the feed that is not complete yet.
  bool is_restarting_ = false;
  std::set<std::string> seen_, seen_challenges_;
  std::set<std::string> unkept_;  // names whose file is not as it is to be
  bool is_keeping_ = false;
  bool is_ending_ = false;
  net::Notify ending_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
