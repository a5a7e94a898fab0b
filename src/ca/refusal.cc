#include "ca/refusal.h"

#include <boost/json.hpp>

#include "base/text.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;

std::string urn(acme::ProblemType type) {
  return fmt::format("urn:ietf:params:acme:error:{}", acme::to_string(type));
}

json::object document_of(const acme::Problem& problem, int status) {
  json::object out{{"type", urn(problem.type)}, {"detail", printable(problem.detail)}, {"status", status}};
  if (problem.parts.empty()) return out;
  json::array& parts = out["subproblems"].emplace_array();
  for (const acme::Problem::Part& part : problem.parts) {
    json::object each{{"type", urn(part.type)}, {"detail", printable(part.detail)}};
    if (!part.identifier.empty())
      each["identifier"] = json::object{{"type", "dns"}, {"value", printable(part.identifier)}};
    parts.push_back(std::move(each));
  }
  return out;
}

}  // namespace

std::string to_json(const acme::Problem& problem, int status) {
  return json::serialize(document_of(problem, status));
}

http::Response to_response(const Refusal& refusal) {
  const acme::Problem problem{.type = refusal.type, .detail = refusal.detail, .parts = refusal.parts};
  json::object document = document_of(problem, refusal.status);
  // A client that chose another one chooses again (RFC 8555, 6.2).
  if (refusal.type == acme::ProblemType::kBadSignatureAlgorithm)
    document["algorithms"] = json::array(kSignatureAlgorithms.begin(), kSignatureAlgorithms.end());
  http::Response out{.status = refusal.status, .headers = refusal.headers, .body = json::serialize(document)};
  out.headers.add("Content-Type", "application/problem+json");
  return out;
}

}  // namespace culvert::ca
