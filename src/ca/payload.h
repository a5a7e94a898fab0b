#pragma once
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string_view>

#include "base/json.h"
#include "ca/refusal.h"

// For the handlers: what requests contain, and answers.
namespace culvert::ca {

// Of a request that needs one.
inline Outcome<boost::json::object> parse_payload(std::string_view payload) {
  auto object = parse_json_object("payload", payload);
  if (!object) return malformed("{}", object.error().message);
  return std::move(*object);
}

// Of a request that only reads.
inline Outcome<> expect_no_payload(std::string_view payload) {
  if (payload.empty()) return {};
  return malformed("this resource is read with an empty payload (POST-as-GET)");
}

inline http::Response json_response(int status, const boost::json::value& document) {
  http::Response out{.status = status, .headers = {}, .body = boost::json::serialize(document)};
  out.headers.add("Content-Type", "application/json");
  return out;
}

inline std::unexpected<Refusal> not_found(std::string_view what) {
  return refuse(404, acme::ProblemType::kMalformed, "there is no such {} here, or it has expired", what);
}

inline std::unexpected<Refusal> of_another_account(std::string_view what) {
  return refuse(403, acme::ProblemType::kUnauthorized, "this {} is one of another account", what);
}

}  // namespace culvert::ca
