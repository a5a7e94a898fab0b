#pragma once
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
  OperatorKeys operator_keys;
  Edges edges;

  // As it is in the database from now on. Records of a kind that this hub does not know are left alone.
  void apply(const Record& record, TimePoint now);
  // What is in force and not in the database.
  Batch unstored() const;
};

}  // namespace culvert::hub
