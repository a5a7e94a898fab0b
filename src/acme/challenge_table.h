#pragma once
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "acme/challenge.h"
#include "acme/solver.h"
#include "tls/tls.h"

namespace culvert::acme {

// The challenges that are pending, as those who answer them look them up. Thread-safe; a look-up takes a
// mutex, so look for "acme-tls/1" or for the path before asking. Names are compared without regard to case.
class ChallengeTable {
 public:
  // Far more than orders run at once.
  static constexpr size_t kMaxChallenges = 1024;

  // kLimit; kInvalid: no certificate can be made for the name.
  Result<> add(const Challenge& challenge, UnixTime now);
  void remove(const Challenge& challenge);

  // kTlsAlpn01: what to serve to a client that asks for this name and offers tls::kAcmeAlpn alone; nullptr:
  // no challenge of ours.
  tls::IdentityPtr certificate(std::string_view server_name) const;
  // kHttp01: the body of the answer to this request (content type application/octet-stream). `host` is
  // without a port. nullopt: no challenge of ours.
  std::optional<std::string> http_answer(std::string_view host, std::string_view path) const;
  // kDns01: the TXT records of this name, which starts with "_acme-challenge.".
  std::vector<std::string> texts(std::string_view dns_name) const;
  size_t size() const;

 private:
  struct Certificate {
    tls::IdentityPtr identity;
    std::string key_authorization;  // a challenge that was replaced takes nothing away when it is removed
  };

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Certificate> certificates_;
  std::unordered_map<std::string, std::string> files_;  // by host and path
  std::unordered_multimap<std::string, std::string> texts_;
};

// Answers where the table is looked up: in this process.
class TableSolver final : public Solver {
 public:
  // `types`: those that somebody looks up. The table outlives it.
  TableSolver(net::EventLoop& loop, ChallengeTable& table, std::set<ChallengeType> types)
      : loop_(loop), table_(table), types_(std::move(types)) {}

  bool can_answer(ChallengeType type, const std::string&) const override { return types_.contains(type); }
  net::Task<Result<>> publish(Challenge challenge) override {
    co_return table_.add(challenge, loop_.unix_now());
  }
  void withdraw(const Challenge& challenge) override { table_.remove(challenge); }

 private:
  net::EventLoop& loop_;
  ChallengeTable& table_;
  const std::set<ChallengeType> types_;
};

}  // namespace culvert::acme
