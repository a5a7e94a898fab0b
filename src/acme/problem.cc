#include "acme/problem.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "base/check.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

struct Row {
  ProblemType type;
  const char* name;
  ErrorCode code;
  bool is_of_name;  // what a CA finds when it looks at the name
  const char* advice;
};

constexpr ErrorCode kInvalid = ErrorCode::kInvalid;
constexpr ErrorCode kLater = ErrorCode::kUnavailable;
constexpr ErrorCode kDenied = ErrorCode::kUnauthorized;
constexpr ErrorCode kConflict = ErrorCode::kConflict;

constexpr std::array<Row, kProblemTypes> kRows = {{
    {ProblemType::kNone, "other", kInvalid, false, "read what the CA says and its documentation"},
    {ProblemType::kAccountDoesNotExist, "accountDoesNotExist", kDenied, false,
     "register a new account with the CA: the one that is stored is not known there"},
    {ProblemType::kAlreadyReplaced, "alreadyReplaced", kConflict, false,
     "order without naming the certificate that is replaced: another order has done so"},
    {ProblemType::kAlreadyRevoked, "alreadyRevoked", kConflict, false,
     "do nothing: the certificate is revoked already"},
    {ProblemType::kBadCsr, "badCSR", kInvalid, false,
     "check whether the CA issues for this kind of name, and with ECDSA keys on P-256"},
    {ProblemType::kBadNonce, "badNonce", kLater, false, "try again: the CA did not take its own nonces"},
    {ProblemType::kBadPublicKey, "badPublicKey", kInvalid, false,
     "choose a CA that takes ECDSA keys on P-256"},
    {ProblemType::kBadRevocationReason, "badRevocationReason", kInvalid, false, "revoke without a reason"},
    {ProblemType::kBadSignatureAlgorithm, "badSignatureAlgorithm", kInvalid, false,
     "choose a CA that takes ES256 signatures"},
    {ProblemType::kCaa, "caa", kInvalid, false,
     "add the CA to the CAA records of the domain, or remove them"},
    {ProblemType::kCompound, "compound", kInvalid, false, "correct each of the causes that the CA names"},
    {ProblemType::kConnection, "connection", kLater, true,
     "check that the name leads to this host and that its ports 80 and 443 are reachable from the internet"},
    {ProblemType::kDns, "dns", kLater, true,
     "check the DNS records of the name, its delegation and its DNSSEC signatures"},
    {ProblemType::kExternalAccountRequired, "externalAccountRequired", kDenied, false,
     "get a key id and a MAC key (external account binding) from the CA and configure both"},
    {ProblemType::kIncorrectResponse, "incorrectResponse", kLater, true,
     "check that the name leads to this host alone and that no proxy in front of it answers the challenge"},
    {ProblemType::kInvalidContact, "invalidContact", kInvalid, false,
     "correct the contact address of the account"},
    {ProblemType::kInvalidProfile, "invalidProfile", kInvalid, false,
     "choose one of the certificate profiles that the CA offers, or none"},
    {ProblemType::kMalformed, "malformed", kInvalid, false,
     "check that the directory URL belongs to an ACME server; otherwise report this as a fault of Culvert"},
    {ProblemType::kOrderNotReady, "orderNotReady", kLater, false,
     "try again: the CA has not finished the authorizations"},
    {ProblemType::kRateLimited, "rateLimited", kLater, false,
     "wait: too many requests or certificates for this account, domain or address; a wildcard certificate or "
     "a second CA helps"},
    {ProblemType::kRejectedIdentifier, "rejectedIdentifier", kInvalid, false,
     "use another name or another CA: this one does not issue for it"},
    {ProblemType::kServerInternal, "serverInternal", kLater, false,
     "wait: the CA has a fault; look at its status page"},
    {ProblemType::kTls, "tls", kLater, true,
     "check that the CA's connection to port 443 of the name ends at this host and not at a TLS proxy"},
    {ProblemType::kUnauthorized, "unauthorized", kDenied, false,
     "check that the name leads to this host, and that the account is not deactivated"},
    {ProblemType::kUnsupportedContact, "unsupportedContact", kInvalid, false,
     "give a mail address as the contact of the account"},
    {ProblemType::kUnsupportedIdentifier, "unsupportedIdentifier", kInvalid, false,
     "use another CA: this one does not issue for this kind of name"},
    {ProblemType::kUserActionRequired, "userActionRequired", kDenied, false,
     "do what the CA asks for, most often to accept its new terms of service"},
}};

const Row& row_of(ProblemType type) {
  const Row& row = kRows.at(static_cast<size_t>(type));
  CHECK(row.type == type);
  return row;
}

ProblemType type_of(std::string_view urn) {
  constexpr std::string_view kPrefix = "urn:ietf:params:acme:error:";
  if (!urn.starts_with(kPrefix)) return ProblemType::kNone;
  const auto row = std::ranges::find(kRows, urn.substr(kPrefix.size()), &Row::name);
  return row == kRows.end() ? ProblemType::kNone : row->type;
}

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string identifier_of(const json::object& part) {
  const json::value* identifier = part.if_contains("identifier");
  return identifier != nullptr && identifier->is_object() ? text_of(identifier->get_object(), "value") : "";
}

Problem problem_of(const json::object& object) {
  Problem out{.type = type_of(text_of(object, "type")), .detail = text_of(object, "detail"), .parts = {}};
  const json::value* parts = object.if_contains("subproblems");
  if (parts == nullptr || !parts->is_array()) return out;
  for (const json::value& part : parts->get_array()) {
    if (!part.is_object() || out.parts.size() == Problem::kMaxParts) continue;
    const json::object& inner = part.get_object();
    out.parts.push_back({.type = type_of(text_of(inner, "type")),
                         .identifier = identifier_of(inner),
                         .detail = text_of(inner, "detail")});
  }
  return out;
}

ProblemType type_of_status(int status) {
  if (status == 429) return ProblemType::kRateLimited;
  if (status >= 500) return ProblemType::kServerInternal;
  return ProblemType::kNone;
}

bool found_at_name(ProblemType type) { return row_of(type).is_of_name || type == ProblemType::kUnauthorized; }

}  // namespace

const char* to_string(ProblemType type) { return row_of(type).name; }
const char* advice(ProblemType type) { return row_of(type).advice; }

Problem parse_problem(std::string_view text) {
  const auto object = parse_json_object("problem", text);
  return object ? problem_of(*object) : Problem{};
}

Problem parse_problem(int status, std::string_view body) {
  Problem out = parse_problem(body);
  if (out.type == ProblemType::kNone) out.type = type_of_status(status);
  if (out.detail.empty()) out.detail = fmt::format("HTTP status {}", status);
  return out;
}

Failure refused(std::string_view ca, std::string_view what, const Problem& problem) {
  const Row& row = row_of(problem.type);
  // What the CA says comes first: a line of the log is cut.
  const std::string said =
      problem.detail.empty() ? std::string() : fmt::format("it says {}; ", quoted(problem.detail));
  std::string message = fmt::format("{} refused {} ({}): {}{}", ca, what, row.name, said, row.advice);
  for (const Problem::Part& part : problem.parts) {
    message +=
        fmt::format("; {} ({}): {}, it says {}", part.identifier.empty() ? "a part" : quoted(part.identifier),
                    to_string(part.type), advice(part.type), quoted(part.detail));
  }
  return {.error = {row.code, std::move(message)}, .type = problem.type};
}

Failure not_proven(std::string_view ca, std::string_view what, const Problem& problem) {
  Failure out = refused(ca, what, problem);
  // A problem of several causes is one of the name when each of them is.
  out.is_of_name =
      found_at_name(problem.type) ||
      (!problem.parts.empty() && std::ranges::all_of(problem.parts, found_at_name, &Problem::Part::type));
  return out;
}

}  // namespace culvert::acme
