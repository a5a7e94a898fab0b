#pragma once
#include "base/random.h"
#include "http/router.h"
#include "hub/hub.h"
#include "hub/invite_json.h"
#include "hub/invites.h"
#include "hub/ledger.h"
#include "hub/store_failures.h"

namespace culvert::hub {

// The hub's own name among the wanted ones: it answers there itself.
std::optional<std::string> own_name_among(const std::vector<route::HostPattern>& wanted,
                                          const std::vector<std::string>& public_urls);
std::string own_name_text(std::string_view own);
// Of a revocation that is in force and not stored.
std::string not_stored_text(const Error& error);

// /v1/invites: the operator's part of the API.
class InviteHandlers {
 public:
  // All outlive it.
  InviteHandlers(const Config& config, Invites& invites, Ledger& ledger, StoreFailures& failures,
                 Random& random)
      : config_(config), invites_(invites), ledger_(ledger), failures_(failures), random_(random) {}

  net::Task<http::Response> create(const http::Exchange& exchange);
  // A page of them in `member`.
  http::Response list(const http::Exchange& exchange, std::string_view member) const;
  // Exchange::rest is the invite's id.
  net::Task<http::Response> show(const http::Exchange& exchange);
  net::Task<http::Response> change(const http::Exchange& exchange);
  net::Task<http::Response> revoke(const http::Exchange& exchange);
  // The same for a tenant: one that was removed before, or never was, is no error.
  net::Task<http::Response> remove(const http::Exchange& exchange);

 private:
  InviteId new_id();
  std::optional<InviteId> id_in(std::string_view text) const;
  // kNotFound, and kIo for one that is damaged.
  Result<const Invite*> find(std::string_view text) const;
  Result<Batch> judge_change(const InviteId& id, const InviteChange& wanted, const std::string& actor,
                             UnixTime wall) const;
  AuditEntry revocation_of(const InviteId& id, const std::string& actor) const;

  const Config& config_;
  Invites& invites_;
  Ledger& ledger_;
  StoreFailures& failures_;
  Random& random_;
};

}  // namespace culvert::hub
