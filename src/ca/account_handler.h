#pragma once
#include "ca/state.h"

namespace culvert::ca {

// Requests about accounts (RFC 8555, 7.3).
class AccountHandler {
 public:
  explicit AccountHandler(State& state) : state_(state) {}

  Outcome<http::Response> create(const Call& call);
  // The account as it is, with other contacts, or deactivated.
  Outcome<http::Response> update(const Call& call);
  Outcome<http::Response> list_orders(const Call& call);
  Outcome<http::Response> change_key(const Call& call);

 private:
  Outcome<> check_binding(const SignedRequest& request, const std::string& binding) const;
  http::Response show(int status, const Account& account) const;
  void end_orders(const std::string& account_id, UnixTime now);

  State& state_;
};

}  // namespace culvert::ca
