#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/solver.h"
#include "acme/store.h"
#include "tls/public_certificate.h"

namespace culvert::acme {

struct IssuerOptions {
  std::vector<Ca> cas;  // at least one; the next is asked when the one before fails
  // In the order in which they are tried.
  std::vector<ChallengeType> challenge_types = {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01,
                                                ChallengeType::kDns01};
  // For all that one CA is asked for one certificate, with up to three attempts at proving the names.
  Duration order_time = std::chrono::minutes(10);
};

struct IssuedCertificate {
  tls::CertificateChain chain;
  tls::P256Key key;
  std::string directory;  // the URL of the CA
};

// A certificate that another one replaces.
struct ReplacedCertificate {
  std::string directory;
  std::string renewal_id;
};

struct IssuerCounters {
  uint64_t orders = 0;
  uint64_t issued = 0;
  uint64_t failed_challenges = 0;
  uint64_t failed_cas = 0;  // a CA's part in an order that did not get a certificate
};

// Gets certificates: has the CAs, an account with each, and the types of challenges. Several orders may run
// at once; that there is one for each name is the caller's to see to. Lives on one loop.
class Issuer {
 public:
  // `store` and `solver` outlive it.
  Issuer(net::EventLoop& loop, IssuerOptions options, Store& store, Solver& solver);

  // One certificate for all these names, with a fresh key. A name's proof is tried by each type of challenge
  // that the CA offers and the solver can answer. The chain was checked: it is for the key and the names, and
  // valid now.
  net::Task<Outcome<IssuedCertificate>> issue(std::vector<std::string> names,
                                              std::optional<ReplacedCertificate> replaced);
  // From the CA of this directory. kNotFound: it is not among ours, or has no RFC 9773.
  net::Task<Outcome<Client::RenewalInfo>> renewal_info(std::string directory, std::string renewal_id);
  // By the CA of this directory, with the account that the certificate was issued to.
  net::Task<Outcome<>> revoke(std::string directory, Bytes certificate_der);

  const IssuerCounters& counters() const { return counters_; }

 private:
  class Attempt;
  struct Registration {
    std::optional<Outcome<>> outcome;
  };
  struct Registering;
  struct Storing;

  struct AtCa {
    const Ca& ca;
    std::shared_ptr<Account> account;
  };

  // A CA of ours, and the account with it. kNotFound: it is not among them.
  net::Task<Outcome<AtCa>> at_ca(std::string directory);
  const Ca* find_ca(const std::string& directory) const;
  // The account with the CA of this directory, stored before it is used.
  net::Task<Result<std::shared_ptr<Account>>> account_with(std::string directory);
  net::Task<> store_account(std::string directory, Account account);
  Outcome<> check_provable(const std::vector<std::string>& names) const;
  // Registers the account with this CA. One order does it; others that want the same get what came of it.
  net::Task<Outcome<>> register_by(Client& client, std::string directory);
  net::Task<Outcome<IssuedCertificate>> issue_at(Ca ca, std::vector<std::string> names, std::string replaces);

  net::EventLoop& loop_;
  const IssuerOptions options_;
  Store& store_;
  Solver& solver_;
  std::map<std::string, std::shared_ptr<Account>> accounts_;            // by directory
  std::map<std::string, std::shared_ptr<Registration>> registrations_;  // that run, by directory
  std::set<std::string> storing_;  // directories whose account is being stored
  net::Notify registered_;         // or stored
  IssuerCounters counters_;
};

}  // namespace culvert::acme
