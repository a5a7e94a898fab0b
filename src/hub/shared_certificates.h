#pragma once
#include <set>
#include <string>
#include <vector>

#include "acme/challenge.h"
#include "base/key.h"
#include "base/random.h"
#include "hub/certificate_feed.h"
#include "hub/certificate_store.h"
#include "hub/certificates.h"
#include "hub/ledger.h"
#include "hub/state.h"

namespace culvert::hub {

// What a node needs of its hub to get certificates and to serve them: the store, which hub orders, the
// challenges that all edges are to answer, and what edges of their own are told. Lives on the hub's loop.
class SharedCertificates {
 public:
  // Edges of other hubs are told by those, as soon as the database has told them.
  static constexpr Duration kOtherHubs = std::chrono::seconds(2);
  // An edge that does not confirm is not waited for any longer.
  static constexpr Duration kEdgeTime = std::chrono::seconds(5);

  // All outlive it.
  SharedCertificates(net::EventLoop& loop, State& state, Ledger& ledger, const SecretKey& hub_key,
                     std::string epoch);

  CertificateStore& store() { return store_; }
  CertificateFeed& feed() { return feed_; }
  void set_listeners(Certificates::Listeners listeners);

  // Of several hubs one orders, as the database has it: one that lives, or the first that wants to.
  bool is_orderer() const { return store_.is_orderer(); }
  // Becomes it, if there is none that lives.
  net::Task<> apply_for_orders();

  // Whether a CA would find an edge that answers. With an edge in this process there is one; edges of their
  // own that agents dial are waited for, for a while after the start.
  bool can_be_answered(bool has_own_edge) const;
  // Whether every edge that this hub knows answers this type.
  bool edges_answer(acme::ChallengeType type, bool has_own_edge) const;

  std::vector<acme::Challenge> challenges() const;
  // Returns when every edge answers it, as far as this hub can know. Errors: as CertificateStore::put().
  net::Task<Result<>> add(acme::Challenge challenge);
  net::Task<Result<>> remove(acme::Challenge challenge);

 private:
  static constexpr Duration kEdgesReturn = std::chrono::seconds(10);

  bool has_other_hubs() const;

  net::EventLoop& loop_;
  State& state_;
  Ledger& ledger_;
  const TimePoint started_;
  CertificateStore store_;
  CertificateFeed feed_;
};

}  // namespace culvert::hub
