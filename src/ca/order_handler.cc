#include "ca/order_handler.h"

#include <algorithm>
#include <boost/json.hpp>

#include "acme/timestamp.h"
#include "base/ascii.h"
#include "base/encoding.h"
#include "base/hostname.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "ca/payload.h"
#include "tls/certificate_request.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;
using acme::AuthorizationStatus;
using acme::ChallengeType;
using acme::OrderStatus;
using acme::ProblemType;
using Kind = Resource::Kind;

// How soon to ask again about a validation that runs: most take less.
constexpr const char* kRetryAfter = "1";

const char* to_string(OrderStatus status) {
  constexpr std::array kNames = {"pending", "ready", "processing", "valid", "invalid"};
  return kNames.at(static_cast<size_t>(status));
}

const char* to_string(ChallengeStatus status) {
  constexpr std::array kNames = {"pending", "processing", "valid", "invalid"};
  return kNames.at(static_cast<size_t>(status));
}

json::object identifier(std::string_view name) { return {{"type", "dns"}, {"value", name}}; }

// Certificates are accepted from a little before they were made: clients' clocks are not exact. Of one that
// lives for minutes most of its life is not to be over then.
std::chrono::seconds backdating(std::chrono::seconds lifetime) {
  return std::min<std::chrono::seconds>(std::chrono::hours(1), lifetime / 10);
}

// Refuses what an order may ask for and we do not do.
Outcome<> check_options(const json::object& payload) {
  if (payload.contains("notBefore") || payload.contains("notAfter"))
    return malformed("\"notBefore\" and \"notAfter\" are chosen by this CA; leave them out");
  if (payload.contains("profile"))
    return refuse(400, ProblemType::kInvalidProfile, "this CA has no certificate profiles");
  return {};
}

Outcome<std::set<std::string>> read_names(const json::object& payload) {
  JsonReader reader("payload", payload);
  const json::array& identifiers = reader.array("identifiers");
  if (reader.error()) return malformed("{}", reader.error()->message);
  if (identifiers.empty() || identifiers.size() > Orders::kMaxNames)
    return malformed("an order is for 1 to {} names, this one has {}", Orders::kMaxNames, identifiers.size());
  std::set<std::string> out;
  for (const json::value& each : identifiers) {
    if (!each.is_object()) return malformed("an identifier is not an object");
    JsonReader one("identifier", each.get_object());
    const std::string_view type = one.text("type"), value = one.text("value");
    if (one.error()) return malformed("{}", one.error()->message);
    if (type != "dns") {
      return refuse(400, ProblemType::kUnsupportedIdentifier,
                    "identifiers of the type {} are not supported (expected \"dns\")", quoted(type));
    }
    out.insert(to_lower(value));
  }
  return out;
}

}  // namespace

Outcome<> OrderHandler::check_name(const std::string& name) const {
  if (!is_hostname_or_wildcard(name) || parse_ip(name)) {
    return refuse(400, ProblemType::kRejectedIdentifier, "{} is neither a hostname nor a wildcard",
                  quoted(name));
  }
  const auto covers = [&name](const std::string& domain) {
    return name == domain || name.ends_with("." + domain);
  };
  const std::vector<std::string>& domains = state_.options.domains;
  if (domains.empty() || std::ranges::any_of(domains, covers)) return {};
  return refuse(400, ProblemType::kRejectedIdentifier, "the policy of this CA is to issue only below {}",
                fmt::join(domains, ", "));
}

Outcome<std::string> OrderHandler::check_replaced(const Call& call, std::string_view renewal_id,
                                                  const std::set<std::string>& names) {
  const IssuedCertificate* replaced = state_.certificates.find_by_renewal_id(std::string(renewal_id));
  if (replaced == nullptr)
    return malformed("\"replaces\" names no certificate of this CA that has not expired");
  if (replaced->account_id != call.account->id) return of_another_account("certificate");
  const bool has_common = std::ranges::any_of(
      replaced->leaf.names(), [&names](const std::string& name) { return names.contains(name); });
  if (!has_common) return malformed("the certificate that \"replaces\" names has no name of this order");
  const auto orders = state_.orders.of_account(call.account->id, call.now);
  const bool is_under_way = std::ranges::any_of(orders, [replaced](const PlacedOrder* order) {
    return order->replaces == replaced->id && order->is_unfinished();
  });
  if (replaced->is_replaced || is_under_way) {
    return refuse(409, ProblemType::kAlreadyReplaced,
                  "another order replaces the certificate that \"replaces\" names");
  }
  return replaced->id;
}

Outcome<http::Response> OrderHandler::create(const Call& call) {
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  auto allowed = check_options(*payload);
  if (!allowed) return std::unexpected(allowed.error());
  const auto names = read_names(*payload);
  if (!names) return std::unexpected(names.error());
  std::vector<Refusal> refusals;
  PlacedOrder order{.id = state_.new_id(),
                    .account_id = call.account->id,
                    .names = {names->begin(), names->end()},
                    .authorizations = {},
                    .expires_at = call.now + std::chrono::floor<std::chrono::seconds>(Orders::kLifetime)};
  for (const std::string& name : *names) {
    if (auto checked = check_name(name); !checked) {
      checked.error().parts.push_back(
          {.type = checked.error().type, .identifier = name, .detail = checked.error().detail});
      refusals.push_back(std::move(checked.error()));
      continue;
    }
    OrderAuthorization authorization{.name = name, .is_wildcard = name.starts_with("*.")};
    if (authorization.is_wildcard) authorization.name.erase(0, 2);
    for (const ChallengeType type :
         {ChallengeType::kHttp01, ChallengeType::kDns01, ChallengeType::kTlsAlpn01}) {
      if (!authorization.is_wildcard || type == ChallengeType::kDns01)
        authorization.challenges.push_back({.type = type, .token = state_.new_id()});
    }
    order.authorizations.push_back(std::move(authorization));
  }
  if (!refusals.empty()) {
    Refusal all = std::move(refusals.front());
    if (refusals.size() == 1) all.parts.clear();  // the problem says it all
    for (size_t i = 1; i < std::min(refusals.size(), acme::Problem::kMaxParts); ++i)
      all.parts.push_back(std::move(refusals[i].parts.front()));
    return std::unexpected(std::move(all));
  }
  if (const json::value* replaces = payload->if_contains("replaces")) {
    if (!replaces->is_string()) return malformed("payload: \"replaces\" is not a string");
    auto id = check_replaced(call, replaces->get_string(), *names);
    if (!id) return std::unexpected(id.error());
    order.replaces = std::move(*id);
  }
  const std::string id = order.id;
  if (!state_.orders.add(std::move(order), call.now)) {
    Refusal full{.status = 429,
                 .type = ProblemType::kRateLimited,
                 .detail = "too many orders are not finished; finish some, or wait until they expire"};
    full.headers.add("Retry-After", "60");
    return std::unexpected(std::move(full));
  }
  ++state_.counters.orders;
  http::Response out = show(201, *state_.orders.find(id, call.now));
  out.headers.add("Location", state_.url({.kind = Kind::kOrder, .id = id}));
  return out;
}

Outcome<PlacedOrder*> OrderHandler::find(const Call& call) {
  PlacedOrder* order = state_.orders.find(call.resource.id, call.now);
  if (order == nullptr) return not_found("order");
  if (order->account_id != call.account->id) return of_another_account("order");
  return order;
}

Outcome<OrderAuthorization*> OrderHandler::find_authorization(PlacedOrder& order, const Call& call) {
  if (call.resource.index >= order.authorizations.size()) return not_found("authorization");
  return &order.authorizations[call.resource.index];
}

http::Response OrderHandler::show(int status, const PlacedOrder& order) const {
  json::array identifiers, authorizations;
  for (const std::string& name : order.names) identifiers.push_back(identifier(name));
  for (size_t i = 0; i < order.authorizations.size(); ++i) {
    authorizations.push_back(
        json::string(state_.url({.kind = Kind::kAuthorization, .id = order.id, .index = i})));
  }
  json::object out{{"status", to_string(order.status)},
                   {"expires", acme::to_timestamp(order.expires_at)},
                   {"identifiers", std::move(identifiers)},
                   {"authorizations", std::move(authorizations)},
                   {"finalize", state_.url({.kind = Kind::kFinalization, .id = order.id})}};
  if (!order.certificate_id.empty())
    out["certificate"] = state_.url({.kind = Kind::kCertificate, .id = order.certificate_id});
  if (const IssuedCertificate* replaced = state_.certificates.find(order.replaces))
    out["replaces"] = replaced->renewal_id;
  return json_response(status, out);
}

std::string OrderHandler::challenge_json(const PlacedOrder& order, size_t authorization,
                                         const OfferedChallenge& challenge) const {
  json::object out{
      {"type", acme::to_string(challenge.type)},
      {"url",
       state_.url(
           {.kind = Kind::kChallenge, .id = order.id, .index = authorization, .type = challenge.type})},
      {"status", to_string(challenge.status)},
      {"token", challenge.token}};
  if (challenge.status == ChallengeStatus::kValid)
    out["validated"] = acme::to_timestamp(challenge.validated_at);
  if (challenge.error) out["error"] = json::parse(to_json(*challenge.error, 403));
  return json::serialize(out);
}

http::Response OrderHandler::show(const PlacedOrder& order, size_t index) const {
  const OrderAuthorization& authorization = order.authorizations.at(index);
  json::array challenges;
  bool is_running = false;
  for (const OfferedChallenge& each : authorization.challenges) {
    // Of one that is decided those that decided it (RFC 8555, 7.1.4).
    const bool is_shown =
        authorization.status == AuthorizationStatus::kValid     ? each.status == ChallengeStatus::kValid
        : authorization.status == AuthorizationStatus::kInvalid ? each.status == ChallengeStatus::kInvalid
                                                                : true;
    is_running = is_running || each.status == ChallengeStatus::kProcessing;
    if (is_shown) challenges.push_back(json::parse(challenge_json(order, index, each)));
  }
  json::object out{{"identifier", identifier(authorization.name)},
                   {"status", acme::to_string(authorization.status)},
                   {"expires", acme::to_timestamp(order.expires_at)},
                   {"challenges", std::move(challenges)}};
  if (authorization.is_wildcard) out["wildcard"] = true;
  http::Response response = json_response(200, out);
  if (is_running) response.headers.add("Retry-After", kRetryAfter);
  return response;
}

Outcome<http::Response> OrderHandler::show(const Call& call) {
  auto empty = expect_no_payload(call.request.payload);
  if (!empty) return std::unexpected(empty.error());
  const auto order = find(call);
  if (!order) return std::unexpected(order.error());
  return show(200, **order);
}

Outcome<http::Response> OrderHandler::authorization(const Call& call) {
  const auto order = find(call);
  if (!order) return std::unexpected(order.error());
  const auto authorization = find_authorization(**order, call);
  if (!authorization) return std::unexpected(authorization.error());
  if (call.request.payload.empty()) return show(**order, call.resource.index);
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  const json::value* status = payload->if_contains("status");
  if (status == nullptr || *status != json::value("deactivated"))
    return malformed("payload: an authorization can only be given the \"status\" \"deactivated\"");
  const AuthorizationStatus before = (*authorization)->status;
  if (before != AuthorizationStatus::kPending && before != AuthorizationStatus::kValid)
    return malformed("this authorization is {} already", acme::to_string(before));
  (*authorization)->status = AuthorizationStatus::kDeactivated;
  (*order)->update();
  return show(**order, call.resource.index);
}

Outcome<http::Response> OrderHandler::challenge(const Call& call) {
  const auto order = find(call);
  if (!order) return std::unexpected(order.error());
  const auto authorization = find_authorization(**order, call);
  if (!authorization) return std::unexpected(authorization.error());
  OfferedChallenge* challenge = (*authorization)->find(call.resource.type);
  if (challenge == nullptr) return not_found("challenge");
  if (!call.request.payload.empty()) {
    const auto payload = parse_payload(call.request.payload);
    if (!payload) return std::unexpected(payload.error());
    if (challenge->status == ChallengeStatus::kPending &&
        (*authorization)->status == AuthorizationStatus::kPending && (*order)->is_unfinished()) {
      challenge->status = ChallengeStatus::kProcessing;
      state_.validations.push_back(
          {.order_id = (*order)->id,
           .authorization = call.resource.index,
           .challenge = {.type = challenge->type,
                         .name = (*authorization)->name,
                         .token = challenge->token,
                         .key_authorization = challenge->token + "." + call.account->key.thumbprint}});
    }
  }
  http::Response out =
      json_response(200, json::parse(challenge_json(**order, call.resource.index, *challenge)));
  const Resource up{.kind = Kind::kAuthorization, .id = (*order)->id, .index = call.resource.index};
  out.headers.add("Link", fmt::format("<{}>;rel=\"up\"", state_.url(up)));
  if (challenge->status == ChallengeStatus::kProcessing) out.headers.add("Retry-After", kRetryAfter);
  return out;
}

void OrderHandler::finish(const Validation& validation, const std::optional<acme::Problem>& problem,
                          UnixTime now) {
  const auto type = static_cast<size_t>(validation.challenge.type);
  ++(problem ? state_.counters.invalid_challenges : state_.counters.valid_challenges).at(type);
  state_.observer.validated(validation, problem);
  PlacedOrder* order = state_.orders.find(validation.order_id, now);
  if (order == nullptr) return;
  OrderAuthorization& authorization = order->authorizations.at(validation.authorization);
  OfferedChallenge* challenge = authorization.find(validation.challenge.type);
  challenge->status = problem ? ChallengeStatus::kInvalid : ChallengeStatus::kValid;
  challenge->error = problem;
  challenge->validated_at = now;
  // Another challenge, or the client, may have decided it meanwhile.
  if (authorization.status != AuthorizationStatus::kPending) return;
  authorization.status = problem ? AuthorizationStatus::kInvalid : AuthorizationStatus::kValid;
  order->update();
}

Outcome<http::Response> OrderHandler::finalize(const Call& call) {
  const auto order = find(call);
  if (!order) return std::unexpected(order.error());
  if ((*order)->status != OrderStatus::kReady) {
    return refuse(403, ProblemType::kOrderNotReady, "the order is {}, not ready",
                  to_string((*order)->status));
  }
  const auto payload = parse_payload(call.request.payload);
  if (!payload) return std::unexpected(payload.error());
  JsonReader reader("payload", *payload);
  const std::string request(reader.text("csr"));
  if (reader.error()) return malformed("{}", reader.error()->message);
  auto issued = issue(call, **order, request);
  if (!issued) return std::unexpected(issued.error());
  http::Response out = show(200, **order);
  out.headers.add("Location", state_.url({.kind = Kind::kOrder, .id = (*order)->id}));
  return out;
}

Outcome<> OrderHandler::issue(const Call& call, PlacedOrder& order, const std::string& text) {
  const auto der = from_base64url(text);
  if (!der) return refuse(400, ProblemType::kBadCsr, "\"csr\" is not base64url");
  const auto request = tls::CertificateRequest::from_der(*der);
  if (!request) return refuse(400, ProblemType::kBadCsr, "the CSR is refused: {}", request.error().message);
  if (request->names() != order.names) {
    return refuse(400, ProblemType::kBadCsr, "the CSR is for {}, but the order is for {}",
                  fmt::join(request->names(), ", "), fmt::join(order.names, ", "));
  }
  if (request->public_key_der() == call.account->key.key.public_key_der())
    return refuse(400, ProblemType::kBadCsr, "the key of the CSR is that of the account; use another one");
  const auto lifetime = state_.options.lifetime;
  const UnixTime not_before = call.now - backdating(lifetime);
  const auto pem = state_.root.issue(*request, not_before, not_before + lifetime);
  auto certificate = pem ? IssuedCertificate::from_pem(call.account->id, *pem) : std::unexpected(pem.error());
  if (!certificate) {
    state_.observer.fault(certificate.error());
    return refuse(500, ProblemType::kServerInternal, "the certificate cannot be issued now");
  }
  auto kept = state_.keep(*certificate, call.now);
  if (!kept) return kept;
  order.status = OrderStatus::kValid;
  order.certificate_id = certificate->id;
  ++state_.counters.issued;
  state_.observer.issued(*certificate);
  if (const IssuedCertificate* before = state_.certificates.find(order.replaces)) {
    IssuedCertificate replaced = *before;
    replaced.is_replaced = true;
    // The certificate is issued all the same: at worst the old one can be replaced once more.
    (void)state_.keep(std::move(replaced), call.now);
  }
  return {};
}

}  // namespace culvert::ca
