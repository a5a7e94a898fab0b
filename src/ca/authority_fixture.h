#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "acme/jws.h"
#include "base/encoding.h"
#include "ca/authority.h"
#include "ca/memory_store_fixture.h"
#include "tls/public_certificate.h"

// For tests: an Authority, and clients of it that can be told to do each thing wrong.
namespace culvert::ca::testing {

constexpr const char* kBase = "https://ca.test:14000";

class CountingObserver final : public Observer {
 public:
  void issued(const IssuedCertificate&) override { ++issued_count; }
  void revoked(const IssuedCertificate&) override { ++revoked_count; }
  void validated(const Validation&, const std::optional<acme::Problem>& problem) override {
    ++(problem ? invalid_count : valid_count);
  }
  void refused(std::string_view, std::string_view, const Refusal& refusal) override {
    last_refusal = refusal.detail;
  }
  void fault(const Error&) override { ++faults; }

  int issued_count = 0, revoked_count = 0, valid_count = 0, invalid_count = 0, faults = 0;
  std::string last_refusal;
};

// An answer as a client sees it.
struct Answer {
  int status;
  http::Headers headers;
  std::string body;

  boost::json::object json() const { return boost::json::parse(body).as_object(); }
  std::string text(const char* member) const { return std::string(json().at(member).as_string()); }
  std::string header(const char* name) const {
    const std::string* value = headers.find(name);
    return value == nullptr ? "" : *value;
  }
  // "malformed", or what is not a problem.
  std::string problem() const {
    if (header("content-type") != "application/problem+json") return fmt::format("none: {} {}", status, body);
    const std::string type = text("type");
    return type.substr(type.rfind(':') + 1);
  }
};

class AuthorityTest : public ::testing::Test {
 public:
  AuthorityTest() { make({}); }

  // Another one on the same store, as after a restart.
  void make(AuthorityOptions options) {
    options.base_url = kBase;
    authority = std::make_unique<Authority>(std::move(options), *root, store, random, observer);
    ASSERT_TRUE(authority->load(now));
  }

  Answer ask(http::Request request) {
    http::Response response = authority->answer(request, now);
    return {response.status, std::move(response.headers), std::move(response.body)};
  }
  Answer get(const std::string& path, const std::string& method = "GET") {
    return ask({.method = method, .target = path, .headers = {}, .body = {}});
  }
  std::string nonce() { return get("/acme/new-nonce", "HEAD").header("replay-nonce"); }

  // A body that is signed already.
  Answer post_body(const std::string& path, std::string body,
                   const std::string& type = "application/jose+json") {
    http::Request request{.method = "POST", .target = path, .headers = {}, .body = std::move(body)};
    request.headers.add("Content-Type", type);
    return ask(std::move(request));
  }

  // One who has a key and, once it is registered, an account.
  struct Client {
    tls::P256Key key = tls::P256Key::generate();
    std::string account = {};
  };
  Answer post(const Client& by, const std::string& url, const std::string& payload) {
    const std::string path = url.starts_with(kBase) ? url.substr(std::string(kBase).size()) : url;
    return post_body(
        path,
        acme::sign_jws(by.key, {.url = kBase + path, .nonce = nonce(), .account_url = by.account}, payload));
  }
  Client registered(const std::string& payload = "{}") {
    Client out;
    const Answer answer = post(out, "/acme/new-account", payload);
    EXPECT_EQ(answer.status, 201) << answer.body;
    out.account = answer.header("location");
    return out;
  }

  static std::string order_payload(const std::vector<std::string>& names, boost::json::object more = {}) {
    boost::json::array& identifiers = more["identifiers"].emplace_array();
    for (const std::string& name : names) identifiers.push_back({{"type", "dns"}, {"value", name}});
    return boost::json::serialize(more);
  }
  // The URL of the order.
  std::string ordered(const Client& by, const std::vector<std::string>& names,
                      boost::json::object more = {}) {
    const Answer answer = post(by, "/acme/new-order", order_payload(names, std::move(more)));
    EXPECT_EQ(answer.status, 201) << answer.body;
    return answer.header("location");
  }
  std::vector<std::string> authorizations_of(const Client& by, const std::string& order) {
    std::vector<std::string> out;
    for (const auto& url : post(by, order, "").json().at("authorizations").as_array())
      out.emplace_back(url.as_string());
    return out;
  }
  std::string challenge_of(const Client& by, const std::string& authorization, const std::string& type) {
    for (const auto& each : post(by, authorization, "").json().at("challenges").as_array()) {
      if (each.at("type").as_string() == type) return std::string(each.at("url").as_string());
    }
    return "";
  }
  // Has all names of an order proven, or refuted.
  void prove(const Client& by, const std::string& order, const std::optional<acme::Problem>& problem = {}) {
    for (const std::string& authorization : authorizations_of(by, order)) {
      ASSERT_EQ(post(by, challenge_of(by, authorization, "dns-01"), "{}").status, 200);
      const auto validation = authority->take_validation();
      ASSERT_TRUE(validation);
      authority->finish(*validation, problem, now);
    }
  }
  static std::string csr_payload(const tls::P256Key& key, const std::vector<std::string>& names) {
    return fmt::format(R"({{"csr":"{}"}})", to_base64url(tls::certificate_request(key, names).value()));
  }
  // The certificate's URL.
  std::string issued(const Client& by, const std::vector<std::string>& names,
                     const tls::P256Key& key = tls::P256Key::generate(), boost::json::object more = {}) {
    const std::string order = ordered(by, names, std::move(more));
    prove(by, order);
    const Answer answer = post(by, order + "/finalize", csr_payload(key, names));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.status == 200 ? answer.text("certificate") : "";
  }
  tls::CertificateChain downloaded(const Client& by, const std::string& url) {
    const Answer answer = post(by, url, "");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return tls::CertificateChain::from_pem(answer.body).value();
  }

  UnixTime now{std::chrono::seconds(1'800'000'000)};
  std::unique_ptr<tls::InternalCa> root =
      tls::InternalCa::load(tls::InternalCa::create("Test Root", now)).value();
  MemoryStore store;
  SeededRandom random{7};
  CountingObserver observer;
  std::unique_ptr<Authority> authority;
};

}  // namespace culvert::ca::testing
