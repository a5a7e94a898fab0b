#pragma once
#include <vector>

#include "hub/certificates.h"
#include "hub/claims.h"
#include "hub/edges.h"
#include "hub/invites.h"
#include "hub/leases.h"
#include "hub/operator_keys.h"
#include "hub/record.h"

namespace culvert::hub {

// What the hub keeps, in memory and in full: the rules are judged here, and reads are answered from here.
// Sans-I/O. It changes with what the Ledger has committed, and by what is in force before it is stored.
struct State {
  Invites invites;
  Leases leases;
  Claims claims;
  OperatorKeys operator_keys;
  Edges edges;
  Certificates certificates;
  // For all tenants; not from the database. Set before the first follow_invites().
  TenantRules rules = {};

  // As they are in the database from now on: all that a commit wrote, or all that there is. Records of a kind
  // that this hub does not know are left alone.
  void apply(const std::vector<Record>& records, TimePoint now, UnixTime wall);
  // The removals of what is here and not in `all`, which is all that the database has.
  std::vector<Record> removals_in(const std::vector<Record>& all) const;
  // What is in force and not in the database.
  Batch unstored() const;

  // Gives leases, claims and reserved names what follows from the invites that were touched. Costs what these
  // have.
  void follow_invites(UnixTime wall);
  // Ends what is over by now. Cheap when nothing can be.
  void expire(TimePoint now, UnixTime wall);
  // When expire() has work next; nullopt: it is not known.
  std::optional<TimePoint> next_expiry(TimePoint now, UnixTime wall) const;
  // Whether anything waits to be stored for which no request waits.
  bool has_unstored() const { return leases.has_unstored() || claims.has_unstored(); }

 private:
  void apply(const Record& record, TimePoint now, UnixTime wall);
  void apply_lease(const Record& record, TimePoint now, UnixTime wall);
  void apply_claim(const Record& record);
  Leases::MayServe may_serve(const Invite& invite, UnixTime wall) const;
};

}  // namespace culvert::hub
