#pragma once
#include "http/router.h"
#include "hub/ledger.h"
#include "hub/query.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// GET /v1/audit: who changed what, the newest first. A page has a "next" when there is more: the value of
// ?after= for the next one. It may be empty: the log is looked through in pieces. The first one has "newest":
// the highest number there is, of whatever entry.
//
//   actor, subject   entries with this one
//   action           entries with this one, or with one that begins with it and a dot: invite
//   since            entries from this second on
//   newer            entries behind this sequence number
//   wait             with `newer`: seconds to wait for an entry if there is none yet
//
// Following the log is asking again and again with the last number that was seen, so that a key that was
// revoked meanwhile is refused, and any hub can go on where another one ended.
class AuditHandler {
 public:
  static constexpr size_t kMaxScanned = 10'000;        // entries, for one request
  static constexpr std::chrono::seconds kMaxWait{10};  // below the patience of hubapi::HubClient

  // All outlive it.
  AuditHandler(Ledger& ledger, StoreFailures& failures) : ledger_(ledger), failures_(failures) {}

  net::Task<http::Response> list(const http::Exchange& exchange);

 private:
  struct Filter;
  struct Found;
  net::Task<Result<Found>> read(const Filter& filter, std::optional<uint64_t> before);

  Ledger& ledger_;
  StoreFailures& failures_;
};

}  // namespace culvert::hub
