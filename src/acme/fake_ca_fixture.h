#pragma once
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/timestamp.h"
#include "base/encoding.h"
#include "http/server.h"
#include "net/tcp.h"
#include "tls/csr_fixture.h"
#include "tls/tls.h"

// For tests: an ACME server on loopback, on the loop of its clients, that does what it is told to do. It does
// not check signatures: pebble does (pebble_test.cc).
namespace culvert::acme::testing {

class FakeCa {
 public:
  // Listens on this IPv4 address, on a port that is free.
  explicit FakeCa(net::EventLoop& loop, const SocketAddr& address = SocketAddr::v4({127, 0, 0, 1}, 0))
      : loop_(loop),
        address_(address),
        https_ca_(tls::InternalCa::load(tls::InternalCa::create("Fake CA", loop.unix_now())).value()),
        server_(loop, {}, [this](http::Exchange& exchange) { return answer(exchange); }),
        tasks_(loop) {
    start();
  }
  ~FakeCa() {
    stop();
    tasks_.cancel();
  }

  // What it is told to do.
  int bad_nonces = 0;  // refuses so many more requests for their nonce
  std::string terms = {};
  bool wants_external_account = false;
  std::vector<std::string> profiles = {};
  bool has_renewal_info = true;
  RenewalWindow window{};
  std::vector<std::string> offers = {"http-01", "dns-01", "tls-alpn-01", "new-01"};
  bool reuses_authorizations = false;
  int pending_polls = 1;  // of an authorization, before it has a result
  std::string retry_after = "0";
  // The problem that validating finds, or empty.
  std::function<std::string(const std::string& name, ChallengeType type, const std::string& token)> validate =
      {};
  std::string authorization_name = {};  // instead of the one that was ordered
  // The answers to the next requests for these paths, before anything else: "/order".
  std::map<std::string, std::deque<http::Response>> instead = {};
  std::chrono::seconds lifetime = std::chrono::days(90);
  bool issues_for_other_name = false;

  // What was asked for.
  std::vector<std::string> requests = {};
  std::vector<boost::json::object> orders = {};    // their payloads
  std::vector<boost::json::object> accounts = {};  // the same
  size_t issued = 0;
  size_t connections = 0;
  std::string revoked = {};

  static http::Response problem(int status, const std::string& type) {
    http::Response out{.status = status,
                       .headers = {},
                       .body = R"({"type":"urn:ietf:params:acme:error:)" + type + R"(","detail":"as told"})"};
    return out;
  }
  void forget_accounts() { known_accounts_.clear(); }
  // Nobody listens any more; the port stays its own.
  void stop() {
    if (listener_) listener_->close();
    server_.close();
  }

  Ca ca() const {
    return {.directory = parse_https_url(url("/directory")).value(),
            .root_pem = https_ca_->certificate_pem()};
  }
  const std::string root_pem() const { return signer_.root_pem(); }

 private:
  struct Authorization {
    std::string name;
    bool is_wildcard;
    std::string status = "pending";
    std::string error = {};
    std::string tried = {};  // the type whose challenge was begun
    int polls = 0;
  };
  struct Order {
    std::vector<std::string> names;
    std::vector<size_t> authorizations;
    std::string status = "pending";
    std::string chain = {};
  };

  void start() {
    listener_ = net::TcpListener::listen(loop_, address_, {}).value();
    address_ = listener_->local_addr();
    tasks_.spawn(accept_all());
  }
  std::string url(const std::string& path) const {
    return fmt::format("https://{}{}", address_.to_string(), path);
  }

  net::Task<> accept_all() {
    for (;;) {
      auto accepted = co_await listener_->accept();
      if (!accepted) co_return;
      tasks_.spawn(serve(std::move(*accepted)));
    }
  }
  net::Task<> serve(std::unique_ptr<net::ByteStream> transport) {
    const std::string host = address_.to_string().substr(0, address_.to_string().find(':'));
    auto identity = https_ca_->issue(host, loop_.unix_now()).value();
    auto stream = co_await tls::accept(std::move(transport), {}, std::move(identity), {},
                                       loop_.now() + std::chrono::seconds(20));
    if (!stream) co_return;
    ++connections;
    co_await server_.serve(std::move(*stream));
  }

  net::Task<> answer(http::Exchange& exchange) {
    auto body = co_await exchange.read_all(64 * 1024);
    EXPECT_TRUE(body);
    const std::string path(exchange.path());
    requests.push_back(exchange.request.method + " " + path);
    http::Response response = answer_to(exchange.request, path);
    response.headers.add("Replay-Nonce", fmt::format("nonce-{}", ++nonces_));
    live_nonces_.insert(fmt::format("nonce-{}", nonces_));
    auto sent = co_await exchange.respond(std::move(response));
    (void)sent;
  }

  http::Response answer_to(const http::Request& request, const std::string& path) {
    if (auto queued = instead.find(path); queued != instead.end() && !queued->second.empty()) {
      http::Response out = std::move(queued->second.front());
      queued->second.pop_front();
      return out;
    }
    if (path == "/directory") return json_answer(200, directory());
    if (path == "/nonce") return {.status = 200, .headers = {}, .body = {}};
    if (path.starts_with("/renewal/")) return renewal(path);
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(*request.headers.find("content-type"), "application/jose+json");
    const auto jws = boost::json::parse(request.body);
    const auto header = boost::json::parse(decoded(jws.at("protected"))).as_object();
    EXPECT_EQ(std::string(header.at("url").as_string()), url(path));
    EXPECT_EQ(header.at("alg").as_string(), "ES256");
    const std::string nonce(header.at("nonce").as_string());
    if (live_nonces_.erase(nonce) == 0 || bad_nonces > 0) {
      EXPECT_GT(bad_nonces, 0) << nonce << " was used twice or never given";
      --bad_nonces;
      return problem(400, "badNonce");
    }
    const std::string payload = decoded(jws.at("payload"));
    if (path == "/account") return new_account(payload);
    if (!header.contains("kid") || !known_accounts_.contains(std::string(header.at("kid").as_string()))) {
      return problem(400, "accountDoesNotExist");
    }
    return answer_to_account(path, payload);
  }

  http::Response answer_to_account(const std::string& path, const std::string& payload) {
    if (path == "/order") return new_order(boost::json::parse(payload).as_object());
    if (path == "/revoke") {
      revoked = std::string(boost::json::parse(payload).at("certificate").as_string());
      return {.status = 200, .headers = {}, .body = {}};
    }
    const auto [kind, number, rest] = split(path);
    if (kind == "authz" && rest.empty()) return show_authorization(number, true);
    if (kind == "authz") {
      EXPECT_EQ(payload, "{}");
      placed_authorizations_.at(number).tried = rest;
      return json_answer(200, challenge(number, rest));
    }
    if (kind == "orders" && rest == "finalize") return finalize(number, payload);
    if (kind == "orders") return json_answer(200, show(placed_orders_.at(number), number));
    if (kind == "certificate") {
      return {.status = 200, .headers = {}, .body = placed_orders_.at(number).chain};
    }
    return problem(404, "malformed");
  }

  static std::string decoded(const boost::json::value& text) {
    return std::string(as_text(from_base64url(std::string_view(text.as_string())).value()));
  }
  // "/authz/3/http-01".
  static std::tuple<std::string, size_t, std::string> split(const std::string& path) {
    const size_t second = path.find('/', 1), third = path.find('/', second + 1);
    return {path.substr(1, second - 1), std::stoul(path.substr(second + 1)),
            third == path.npos ? "" : path.substr(third + 1)};
  }
  http::Response json_answer(int status, const boost::json::value& value,
                             const std::string& location = "") const {
    http::Response out{.status = status, .headers = {}, .body = boost::json::serialize(value)};
    if (!location.empty()) out.headers.add("Location", url(location));
    return out;
  }

  boost::json::object directory() const {
    boost::json::object out{{"newNonce", url("/nonce")},
                            {"newAccount", url("/account")},
                            {"newOrder", url("/order")},
                            {"revokeCert", url("/revoke")}};
    if (has_renewal_info) out["renewalInfo"] = url("/renewal");
    boost::json::object meta{{"externalAccountRequired", wants_external_account}};
    if (!terms.empty()) meta["termsOfService"] = terms;
    boost::json::object& offered = meta["profiles"].emplace_object();
    for (const std::string& profile : profiles) offered[profile] = "https://127.0.0.1/profile";
    out["meta"] = std::move(meta);
    return out;
  }

  http::Response new_account(const std::string& payload) {
    accounts.push_back(boost::json::parse(payload).as_object());
    if (wants_external_account && !accounts.back().contains("externalAccountBinding")) {
      return problem(403, "externalAccountRequired");
    }
    const std::string path = fmt::format("/account/{}", accounts.size());
    known_accounts_.insert(url(path));
    return json_answer(201, boost::json::object{{"status", "valid"}}, path);
  }

  http::Response new_order(boost::json::object payload) {
    Order order;
    for (const auto& identifier : payload.at("identifiers").as_array()) {
      std::string name(identifier.at("value").as_string());
      order.names.push_back(name);
      const bool is_wildcard = name.starts_with("*.");
      if (is_wildcard) name = name.substr(2);
      if (!authorization_name.empty()) name = authorization_name;
      order.authorizations.push_back(placed_authorizations_.size());
      placed_authorizations_.push_back({.name = name, .is_wildcard = is_wildcard});
      if (reuses_authorizations) placed_authorizations_.back().status = "valid";
    }
    orders.push_back(std::move(payload));
    placed_orders_.push_back(std::move(order));
    const size_t number = placed_orders_.size() - 1;
    return json_answer(201, show(placed_orders_.back(), number), fmt::format("/orders/{}", number));
  }
  boost::json::object show(Order& order, size_t number) {
    boost::json::array authorizations;
    size_t valid = 0;
    for (const size_t each : order.authorizations) {
      authorizations.push_back(boost::json::string(url(fmt::format("/authz/{}", each))));
      if (placed_authorizations_.at(each).status == "valid") ++valid;
    }
    if (order.status == "pending" && valid == order.authorizations.size()) order.status = "ready";
    boost::json::object out{{"status", order.status},
                            {"authorizations", std::move(authorizations)},
                            {"finalize", url(fmt::format("/orders/{}/finalize", number))}};
    if (order.status == "valid") out["certificate"] = url(fmt::format("/certificate/{}", number));
    return out;
  }

  boost::json::object challenge(size_t number, const std::string& type) const {
    const Authorization& authorization = placed_authorizations_.at(number);
    boost::json::object out{{"type", type},
                            {"url", url(fmt::format("/authz/{}/{}", number, type))},
                            {"status", "pending"},
                            {"token", fmt::format("token-{}-{}", number, type)}};
    if (authorization.tried == type && !authorization.error.empty()) {
      out["status"] = "invalid";
      out["error"] = boost::json::parse(authorization.error);
    }
    return out;
  }
  http::Response show_authorization(size_t number, bool counts) {
    Authorization& authorization = placed_authorizations_.at(number);
    if (counts && !authorization.tried.empty() && authorization.status == "pending" &&
        ++authorization.polls > pending_polls) {
      const auto type = parse_challenge_type(authorization.tried).value();
      if (validate) {
        authorization.error =
            validate(authorization.name, type, fmt::format("token-{}-{}", number, authorization.tried));
      }
      authorization.status = authorization.error.empty() ? "valid" : "invalid";
    }
    boost::json::array challenges;
    for (const std::string& type : offers) {
      if (!authorization.is_wildcard || type == "dns-01") challenges.push_back(challenge(number, type));
    }
    http::Response out =
        json_answer(200, boost::json::object{{"status", authorization.status},
                                             {"identifier", {{"type", "dns"}, {"value", authorization.name}}},
                                             {"wildcard", authorization.is_wildcard},
                                             {"challenges", std::move(challenges)}});
    out.headers.add("Retry-After", retry_after);
    return out;
  }

  http::Response finalize(size_t number, const std::string& payload) {
    Order& order = placed_orders_.at(number);
    if (show(order, number).at("status").as_string() != "ready") return problem(403, "orderNotReady");
    Bytes request =
        from_base64url(std::string_view(boost::json::parse(payload).at("csr").as_string())).value();
    if (issues_for_other_name) {
      request = tls::certificate_request(tls::P256Key::generate(), {"other.test"}).value();
    }
    const UnixTime from = loop_.unix_now() - std::chrono::hours(1);
    order.chain = signer_.issue(request, from, from + lifetime);
    order.status = "valid";
    ++issued;
    return json_answer(200, show(order, number));
  }

  http::Response renewal(const std::string&) const {
    http::Response out = json_answer(
        200,
        boost::json::object{
            {"suggestedWindow", {{"start", to_timestamp(window.start)}, {"end", to_timestamp(window.end)}}}});
    out.headers.add("Retry-After", "21600");
    return out;
  }

  net::EventLoop& loop_;
  SocketAddr address_;
  std::unique_ptr<tls::InternalCa> https_ca_;
  tls::testing::RequestSigner signer_;
  http::Server server_;
  net::TaskGroup tasks_;
  std::unique_ptr<net::TcpListener> listener_;
  uint64_t nonces_ = 0;
  std::set<std::string> live_nonces_, known_accounts_;
  std::vector<Authorization> placed_authorizations_;
  std::vector<Order> placed_orders_;
};

}  // namespace culvert::acme::testing
