#include "ca/authority.h"

#include <boost/json.hpp>

#include "base/ascii.h"
#include "ca/payload.h"

namespace culvert::ca {
namespace {

namespace json = boost::json;
using acme::ProblemType;
using Kind = Resource::Kind;

bool has_jose_body(const http::Request& request) {
  const std::string* type = request.headers.find("content-type");
  return type != nullptr && request.headers.count("content-type") == 1 &&
         equals_lower(trim(std::string_view(*type).substr(0, type->find(';'))), "application/jose+json");
}

}  // namespace

Authority::Authority(AuthorityOptions options, const tls::InternalCa& root, Store& store, Random& random,
                     Observer& observer)
    : state_{.options = std::move(options),
             .root = root,
             .store = store,
             .random = random,
             .observer = observer},
      accounts_(state_),
      orders_(state_),
      certificates_(state_) {}

Result<> Authority::load(UnixTime now) {
  auto accounts = state_.store.accounts();
  if (!accounts) return std::unexpected(accounts.error());
  for (Account& each : *accounts) {
    if (!state_.accounts.is_full() && state_.accounts.find_by_key(each.key) == nullptr)
      state_.accounts.put(std::move(each));
  }
  state_.counters.accounts = state_.accounts.size();
  auto certificates = state_.store.certificates();
  if (!certificates) return std::unexpected(certificates.error());
  for (IssuedCertificate& each : *certificates) state_.certificates.put(std::move(each));
  while (const auto removed = state_.certificates.remove_one(now)) {
    auto done = state_.store.remove_certificate(*removed);
    if (!done) return done;
  }
  return {};
}

http::Response Authority::refused(const Refusal& refusal) {
  ++state_.counters.refusals.at(static_cast<size_t>(refusal.type));
  return to_response(refusal);
}

http::Response Authority::answer(const http::Request& request, UnixTime now) {
  ++state_.counters.requests;
  const std::string_view path = request.target;
  auto served = serve(request, path, now);
  if (!served) state_.observer.refused(request.method, path, served.error());
  http::Response out = served ? std::move(*served) : refused(served.error());
  if (request.method == "POST" || path == Resource{.kind = Kind::kNewNonce}.path())
    out.headers.add("Replay-Nonce", state_.nonces.issue(state_.random));
  out.headers.add("Cache-Control", "no-store");
  const std::string directory = state_.url({.kind = Kind::kDirectory});
  if (path != Resource{.kind = Kind::kDirectory}.path())
    out.headers.add("Link", fmt::format("<{}>;rel=\"index\"", directory));
  return out;
}

http::Response Authority::answer_to_unreadable(int status, std::string_view reason) {
  return refused({.status = status, .type = ProblemType::kMalformed, .detail = std::string(reason)});
}

Outcome<http::Response> Authority::serve(const http::Request& request, std::string_view path, UnixTime now) {
  const auto resource = parse_resource(path);
  if (!resource) return not_found("resource");
  const bool is_nonce = resource->kind == Kind::kNewNonce;
  const std::string_view allowed = is_nonce ? "HEAD, GET" : resource->is_public() ? "GET" : "POST";
  if (is_nonce && request.method == "HEAD") return http::Response{.status = 200, .headers = {}, .body = {}};
  if (request.method != (resource->is_public() ? "GET" : "POST")) {
    Refusal out{.status = 405,
                .type = ProblemType::kMalformed,
                .detail = fmt::format("this resource knows only {}", allowed)};
    out.headers.add("Allow", std::string(allowed));
    return std::unexpected(std::move(out));
  }
  return resource->is_public() ? serve_public(*resource, now) : serve_signed(request, *resource, now);
}

Outcome<http::Response> Authority::serve_public(const Resource& resource, UnixTime now) {
  switch (resource.kind) {
    case Kind::kDirectory:
      return directory();
    case Kind::kRenewalInfo:
      return certificates_.renewal_info(resource.id, now);
    case Kind::kRoot: {
      http::Response out{.status = 200, .headers = {}, .body = state_.root.certificate_pem()};
      out.headers.add("Content-Type", "application/x-pem-file");
      return out;
    }
    default:
      return http::Response{.status = 204, .headers = {}, .body = {}};
  }
}

http::Response Authority::directory() const {
  json::object out;
  for (const auto& [name, kind] : {std::pair("newNonce", Kind::kNewNonce),
                                   {"newAccount", Kind::kNewAccount},
                                   {"newOrder", Kind::kNewOrder},
                                   {"revokeCert", Kind::kRevocation},
                                   {"keyChange", Kind::kKeyChange}}) {
    out[name] = state_.url({.kind = kind});
  }
  // The id follows after a slash.
  const std::string renewal = state_.url({.kind = Kind::kRenewalInfo});
  out["renewalInfo"] = renewal.substr(0, renewal.size() - 1);
  out["meta"] = json::object{{"externalAccountRequired", state_.options.external_account.has_value()}};
  return json_response(200, out);
}

Outcome<const Account*> Authority::find_signer(const Resource& resource, const SignedRequest& request) const {
  const bool may_name_key = resource.kind == Kind::kNewAccount || resource.kind == Kind::kRevocation;
  if (request.key && may_name_key) return nullptr;
  if (request.key) return malformed("this request is signed for an account: it has \"kid\", not \"jwk\"");
  if (resource.kind == Kind::kNewAccount)
    return malformed("this request is signed for its key: it has \"jwk\", not \"kid\"");
  const std::string_view url = request.account_url, base = state_.options.base_url;
  const auto named =
      url.starts_with(base) ? parse_resource(url.substr(base.size())) : std::optional<Resource>();
  const Account* account = named && named->kind == Kind::kAccount ? state_.accounts.find(named->id) : nullptr;
  if (account == nullptr) {
    return refuse(400, ProblemType::kAccountDoesNotExist,
                  "there is no account with the URL that \"kid\" names; register one");
  }
  if (account->is_deactivated)
    return refuse(403, ProblemType::kUnauthorized, "the account is deactivated; register another one");
  return account;
}

// What is cheap comes first: the last check costs a signature.
Outcome<http::Response> Authority::serve_signed(const http::Request& request, const Resource& resource,
                                                UnixTime now) {
  if (!has_jose_body(request)) {
    return refuse(415, ProblemType::kMalformed,
                  "the content type of a request has to be application/jose+json");
  }
  const auto parsed = parse_signed_request(request.body);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->url != state_.options.base_url + request.target) {
    return refuse(401, ProblemType::kUnauthorized,
                  "the request is signed for another URL than that which it was sent to");
  }
  if (!state_.nonces.use(parsed->nonce)) {
    return refuse(400, ProblemType::kBadNonce,
                  "the nonce is unknown or was used before; take the one of this answer");
  }
  const auto signer = find_signer(resource, *parsed);
  if (!signer) return std::unexpected(signer.error());
  auto is_signed = parsed->check(*signer == nullptr ? *parsed->key : (*signer)->key);
  if (!is_signed) return std::unexpected(is_signed.error());
  return dispatch({.resource = resource, .request = *parsed, .account = *signer, .now = now});
}

Outcome<http::Response> Authority::dispatch(const Call& call) {
  switch (call.resource.kind) {
    case Kind::kNewAccount:
      return accounts_.create(call);
    case Kind::kAccount:
      return accounts_.update(call);
    case Kind::kAccountOrders:
      return accounts_.list_orders(call);
    case Kind::kKeyChange:
      return accounts_.change_key(call);
    case Kind::kNewOrder:
      return orders_.create(call);
    case Kind::kOrder:
      return orders_.show(call);
    case Kind::kFinalization:
      return orders_.finalize(call);
    case Kind::kAuthorization:
      return orders_.authorization(call);
    case Kind::kChallenge:
      return orders_.challenge(call);
    case Kind::kCertificate:
      return certificates_.download(call);
    case Kind::kRevocation:
      return certificates_.revoke(call);
    default:
      return not_found("resource");
  }
}

std::optional<Validation> Authority::take_validation() {
  if (state_.validations.empty()) return std::nullopt;
  Validation out = std::move(state_.validations.front());
  state_.validations.pop_front();
  return out;
}

void Authority::finish(const Validation& validation, const std::optional<acme::Problem>& problem,
                       UnixTime now) {
  orders_.finish(validation, problem, now);
}

}  // namespace culvert::ca
