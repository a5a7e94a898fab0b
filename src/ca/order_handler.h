#pragma once
#include <set>

#include "ca/state.h"

namespace culvert::ca {

// Requests about orders, and what became of their challenges (RFC 8555, 7.4 and 7.5).
class OrderHandler {
 public:
  explicit OrderHandler(State& state) : state_(state) {}

  Outcome<http::Response> create(const Call& call);
  Outcome<http::Response> show(const Call& call);
  // The authorization as it is, or deactivated.
  Outcome<http::Response> authorization(const Call& call);
  // The challenge as it is; with a payload its validation begins.
  Outcome<http::Response> challenge(const Call& call);
  // Issues the certificate.
  Outcome<http::Response> finalize(const Call& call);

  // A validation has ended.
  void finish(const Validation& validation, const std::optional<acme::Problem>& problem, UnixTime now);

 private:
  Outcome<PlacedOrder*> find(const Call& call);
  Outcome<OrderAuthorization*> find_authorization(PlacedOrder& order, const Call& call);
  Outcome<> check_name(const std::string& name) const;
  // The id of the certificate that this order may replace.
  Outcome<std::string> check_replaced(const Call& call, std::string_view renewal_id,
                                      const std::set<std::string>& names);
  Outcome<> issue(const Call& call, PlacedOrder& order, const std::string& request);

  http::Response show(int status, const PlacedOrder& order) const;
  http::Response show(const PlacedOrder& order, size_t authorization) const;
  std::string challenge_json(const PlacedOrder& order, size_t authorization,
                             const OfferedChallenge& challenge) const;

  State& state_;
};

}  // namespace culvert::ca
