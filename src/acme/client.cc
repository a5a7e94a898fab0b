#include "acme/client.h"

#include <algorithm>
#include <boost/json.hpp>

#include "acme/answer_fields.h"
#include "base/encoding.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

// Between two questions whether something is done, where the CA does not say: validation takes one to three
// seconds at a CA that is not busy.
constexpr Duration kFirstPause = 250ms;
constexpr Duration kLongestPause = 10s;
// A CA that asks for more patience is asked again all the same: the order's deadline bounds how often.
constexpr Duration kLongestAskedPause = 60s;

std::string names_text(const std::vector<std::string>& names) {
  return names.size() == 1 ? names.front() : fmt::format("{} and {} more", names.front(), names.size() - 1);
}

// How long to wait between two questions whether something is done.
class Pauses {
 public:
  Duration next(std::optional<Duration> asked) {
    const Duration usual = std::exchange(usual_, std::min(usual_ * 2, kLongestPause));
    return asked ? std::clamp(*asked, kFirstPause, kLongestAskedPause) : usual;
  }

 private:
  Duration usual_ = kFirstPause;
};

template <class T>
std::unexpected<Failure> pass(const Outcome<T>& outcome) {
  return std::unexpected(outcome.error());
}

}  // namespace

struct Client::Post {
  std::string what;  // for messages: "the order for a.test"
  std::string url;
  std::string payload;     // empty: POST-as-GET
  bool names_key = false;  // signed for the key, before there is an account
  size_t cap = kMaxDocument;
};

Client::Client(net::EventLoop& loop, Ca ca, std::shared_ptr<Account> account, TimePoint deadline)
    : loop_(loop),
      ca_(std::move(ca)),
      account_(std::move(account)),
      deadline_(deadline),
      https_(loop, ca_.root_pem) {}

Failure Client::failed(Error error) const { return {.error = std::move(error)}; }

Failure Client::refusal(std::string_view what, const http::Response& response) const {
  Failure out = refused(name(), what, parse_problem(response.status, response.body));
  out.retry_after = retry_after(response.headers, loop_.unix_now());
  return out;
}

Failure Client::unusable(std::string_view what, const Error& error) const {
  return failed(
      {ErrorCode::kInvalid,
       fmt::format("{} answered {} with something that is not ACME: {}; check that the directory URL {} "
                   "belongs to an ACME server",
                   name(), what, printable(error.message), ca_.directory.to_string())});
}

net::Task<Outcome<http::Response>> Client::call(HttpsUrl url, http::Request request, size_t cap) {
  auto response = co_await https_.call(std::move(url), std::move(request), cap, deadline_);
  if (!response) co_return std::unexpected(failed(response.error()));
  if (auto nonce = replay_nonce(response->headers)) nonce_ = std::move(nonce);
  co_return std::move(*response);
}

net::Task<Outcome<http::Response>> Client::get(std::string what, std::string url, size_t cap) {
  auto parsed = parse_https_url(url);
  if (!parsed) co_return std::unexpected(failed(parsed.error()));
  auto response =
      co_await call(std::move(*parsed), {.method = "GET", .target = {}, .headers = {}, .body = {}}, cap);
  if (!response) co_return pass(response);
  if (response->status != 200) co_return std::unexpected(refusal(what, *response));
  co_return response;
}

net::Task<Outcome<Directory>> Client::directory() {
  if (directory_) co_return *directory_;
  auto response = co_await get("its directory", ca_.directory.to_string(), kMaxDocument);
  if (!response) co_return pass(response);
  auto parsed = parse_directory(response->body);
  if (!parsed) co_return std::unexpected(unusable("the request for its directory", parsed.error()));
  directory_ = std::move(*parsed);
  co_return *directory_;
}

net::Task<Outcome<std::string>> Client::take_nonce() {
  if (!nonce_) {
    auto url = parse_https_url(directory_->new_nonce);
    if (!url) co_return std::unexpected(failed(url.error()));
    auto response =
        co_await call(std::move(*url), {.method = "HEAD", .target = {}, .headers = {}, .body = {}}, 0);
    if (!response) co_return pass(response);
    if (response->status >= 400) co_return std::unexpected(refusal("a nonce", *response));
  }
  if (!nonce_) {
    co_return std::unexpected(
        unusable("the request for a nonce", {ErrorCode::kInvalid, "there is no Replay-Nonce"}));
  }
  std::string nonce = std::move(*nonce_);
  nonce_.reset();
  co_return nonce;
}

net::Task<Outcome<http::Response>> Client::post_once(Post post, std::string nonce) {
  auto url = parse_https_url(post.url);
  if (!url) co_return std::unexpected(failed(url.error()));
  const JwsTarget target{.url = post.url,
                         .nonce = std::move(nonce),
                         .account_url = post.names_key ? std::string() : account_->url};
  http::Request request{
      .method = "POST", .target = {}, .headers = {}, .body = sign_jws(account_->key, target, post.payload)};
  request.headers.add("Content-Type", "application/jose+json");
  auto response = co_await call(std::move(*url), std::move(request), post.cap);
  if (response && response->status >= 400) co_return std::unexpected(refusal(post.what, *response));
  co_return response;
}

net::Task<Outcome<http::Response>> Client::post_with_nonces(Post post) {
  for (int retries = 0;; ++retries) {
    auto nonce = co_await take_nonce();
    if (!nonce) co_return pass(nonce);
    auto response = co_await post_once(post, std::move(*nonce));
    // The refusal has a fresh nonce, which is the next one (RFC 8555, 6.5).
    const bool again =
        !response && response.error().type == ProblemType::kBadNonce && retries < kMaxNonceRetries;
    if (!again) co_return response;
  }
}

net::Task<Outcome<http::Response>> Client::post(Post post) {
  auto registered = co_await ensure_account();
  if (!registered) co_return pass(registered);
  auto response = co_await post_with_nonces(post);
  if (response || response.error().type != ProblemType::kAccountDoesNotExist) co_return response;
  // A CA that lost its accounts, as test CAs do at each start.
  account_->url.clear();
  registered = co_await register_account();
  if (!registered) co_return pass(registered);
  response = co_await post_with_nonces(std::move(post));
  co_return response;
}

net::Task<Outcome<>> Client::ensure_account() {
  auto known = co_await directory();
  if (!known) co_return pass(known);
  if (!account_->url.empty()) co_return Outcome<>();
  auto registered = co_await register_account();
  co_return registered;
}

net::Task<Outcome<>> Client::register_account() {
  if (!directory_->terms_of_service.empty() && !ca_.terms_agreed) {
    co_return std::unexpected(
        failed({ErrorCode::kUnauthorized,
                fmt::format("{} wants its terms of service agreed to: read {} and say so in the "
                            "configuration",
                            name(), printable(directory_->terms_of_service))}));
  }
  if (directory_->external_account_required && !ca_.external_account) {
    co_return std::unexpected(refused(
        name(), "an account", {.type = ProblemType::kExternalAccountRequired, .detail = {}, .parts = {}}));
  }
  json::object payload{{"termsOfServiceAgreed", ca_.terms_agreed}};
  if (!ca_.contact.empty()) payload["contact"] = json::array{json::string("mailto:" + ca_.contact)};
  if (ca_.external_account) {
    payload["externalAccountBinding"] =
        json::parse(sign_external_binding(*ca_.external_account, account_->key, directory_->new_account));
  }
  auto response = co_await post_with_nonces({.what = "an account",
                                             .url = directory_->new_account,
                                             .payload = json::serialize(payload),
                                             .names_key = true});
  if (!response) co_return pass(response);
  const std::string* location = response->headers.find("location");
  if (location == nullptr || !parse_https_url(*location)) {
    co_return std::unexpected(
        unusable("the request for an account", {ErrorCode::kInvalid, "its Location is not an https URL"}));
  }
  account_->url = *location;
  co_return Outcome<>();
}

net::Task<Outcome<Client::PlacedOrder>> Client::new_order(std::vector<std::string> names,
                                                          std::string replaces) {
  auto known = co_await directory();
  if (!known) co_return pass(known);
  if (!ca_.profile.empty() && std::ranges::find(known->profiles, ca_.profile) == known->profiles.end()) {
    const std::string offered =
        known->profiles.empty() ? "none" : fmt::format("{}", fmt::join(known->profiles, ", "));
    co_return std::unexpected(
        refused(name(), fmt::format("the certificate profile {}", quoted(ca_.profile)),
                {.type = ProblemType::kInvalidProfile, .detail = "offered: " + offered, .parts = {}}));
  }
  json::object payload;
  json::array& identifiers = payload["identifiers"].emplace_array();
  for (const std::string& each : names) identifiers.push_back({{"type", "dns"}, {"value", each}});
  if (!ca_.profile.empty()) payload["profile"] = ca_.profile;
  if (!replaces.empty() && !known->renewal_info.empty()) payload["replaces"] = replaces;
  const std::string what = "the order for " + names_text(names);
  auto response = co_await post({.what = what, .url = known->new_order, .payload = json::serialize(payload)});
  if (!response) co_return pass(response);
  auto order = parse_order(response->body);
  const std::string* location = response->headers.find("location");
  if (order && (location == nullptr || !parse_https_url(*location))) {
    order = fail(ErrorCode::kInvalid, "its Location is not an https URL");
  }
  if (!order) co_return std::unexpected(unusable(what, order.error()));
  co_return PlacedOrder{.url = *location, .order = std::move(*order)};
}

net::Task<Outcome<Authorization>> Client::authorization(std::string url) {
  auto response = co_await post({.what = "an authorization", .url = std::move(url), .payload = {}});
  if (!response) co_return pass(response);
  auto parsed = parse_authorization(response->body);
  if (!parsed) co_return std::unexpected(unusable("the request for an authorization", parsed.error()));
  co_return std::move(*parsed);
}

net::Task<Outcome<>> Client::begin_challenge(std::string url) {
  auto response = co_await post({.what = "a challenge", .url = std::move(url), .payload = "{}"});
  if (!response) co_return pass(response);
  co_return Outcome<>();
}

// False: it would end after the deadline.
net::Task<bool> Client::pause(Duration wait) {
  if (loop_.now() + wait >= deadline_) co_return false;
  co_await net::sleep_for(loop_, wait);
  co_return true;
}

net::Task<Outcome<Authorization>> Client::wait_for_authorization(std::string url) {
  Pauses pauses;
  for (;;) {
    auto response = co_await post({.what = "an authorization", .url = url, .payload = {}});
    if (!response) co_return pass(response);
    auto parsed = parse_authorization(response->body);
    if (!parsed) co_return std::unexpected(unusable("the request for an authorization", parsed.error()));
    if (parsed->status != AuthorizationStatus::kPending) co_return std::move(*parsed);
    const bool in_time = co_await pause(pauses.next(retry_after(response->headers, loop_.unix_now())));
    if (!in_time) {
      co_return std::unexpected(
          failed({ErrorCode::kTimeout,
                  fmt::format("{} did not finish validating {} in time", name(), parsed->name)}));
    }
  }
}

// Until it is at least so far, or fails.
net::Task<Outcome<Order>> Client::wait_for_order(std::string url, OrderStatus wanted, std::string what) {
  Pauses pauses;
  for (;;) {
    auto response = co_await post({.what = what, .url = url, .payload = {}});
    if (!response) co_return pass(response);
    auto order = parse_order(response->body);
    if (!order) co_return std::unexpected(unusable(what, order.error()));
    if (order->status == OrderStatus::kInvalid) {
      co_return std::unexpected(refused(name(), what, order->error.value_or(Problem{})));
    }
    if (order->status >= wanted) co_return std::move(*order);
    const bool in_time = co_await pause(pauses.next(retry_after(response->headers, loop_.unix_now())));
    if (!in_time) {
      co_return std::unexpected(
          failed({ErrorCode::kTimeout, fmt::format("{} did not issue {} in time", name(), what)}));
    }
  }
}

net::Task<Outcome<std::string>> Client::finalize(PlacedOrder placed, Bytes request_der) {
  const std::string what = "the certificate";
  // Some CAs take a moment after the last authorization.
  if (placed.order.status == OrderStatus::kPending) {
    auto ready = co_await wait_for_order(placed.url, OrderStatus::kReady, what);
    if (!ready) co_return pass(ready);
  }
  const json::object payload{{"csr", to_base64url(request_der)}};
  auto response =
      co_await post({.what = what, .url = placed.order.finalize, .payload = json::serialize(payload)});
  if (!response) co_return pass(response);
  auto order = co_await wait_for_order(placed.url, OrderStatus::kValid, what);
  if (!order) co_return pass(order);
  auto chain = co_await download(order->certificate);
  co_return chain;
}

// The chain that the CA prefers, or the alternate one to the root that the operator prefers (RFC
// 8555, 7.4.2).
net::Task<Outcome<std::string>> Client::download(std::string url) {
  auto response = co_await post({.what = "the certificate", .url = url, .payload = {}, .cap = kMaxChain});
  if (!response) co_return pass(response);
  const auto leads_to_preferred = [this](const std::string& pem) {
    const auto chain = tls::CertificateChain::from_pem(pem);
    return chain && chain->root_name() == ca_.preferred_root;
  };
  std::string preferred = std::move(response->body);
  if (ca_.preferred_root.empty() || leads_to_preferred(preferred)) co_return preferred;
  const std::vector<std::string> alternates = links(response->headers, "alternate");
  for (const std::string& alternate : alternates) {
    auto other =
        co_await post({.what = "an alternate chain", .url = alternate, .payload = {}, .cap = kMaxChain});
    if (other && leads_to_preferred(other->body)) co_return std::move(other->body);
  }
  co_return preferred;
}

net::Task<Outcome<>> Client::revoke(Bytes certificate_der) {
  auto known = co_await directory();
  if (!known) co_return pass(known);
  if (known->revoke_cert.empty()) {
    co_return std::unexpected(
        failed({ErrorCode::kNotFound, fmt::format("{} revokes no certificates", name())}));
  }
  const json::object payload{{"certificate", to_base64url(certificate_der)}};
  auto response = co_await post(
      {.what = "the revocation", .url = known->revoke_cert, .payload = json::serialize(payload)});
  if (!response) co_return pass(response);
  co_return Outcome<>();
}

net::Task<Outcome<Client::RenewalInfo>> Client::renewal_info(std::string id) {
  auto known = co_await directory();
  if (!known) co_return pass(known);
  if (known->renewal_info.empty()) {
    co_return std::unexpected(failed(
        {ErrorCode::kNotFound, fmt::format("{} does not say when to renew (it has no RFC 9773)", name())}));
  }
  auto response = co_await get("the renewal information", known->renewal_info + "/" + id, kMaxDocument);
  if (!response) co_return pass(response);
  auto window = parse_renewal_info(response->body);
  if (!window) co_return std::unexpected(unusable("the request for renewal information", window.error()));
  co_return RenewalInfo{.window = *window, .retry_after = retry_after(response->headers, loop_.unix_now())};
}

}  // namespace culvert::acme
