#include "ca/authority_fixture.h"
#include "ca/signed_request.h"

// What is not a request of RFC 8555, 6.2.
namespace culvert::ca {
namespace {

namespace json = boost::json;

using testing::Answer;
using testing::AuthorityTest;
using testing::kBase;

// A signed request whose parts can be chosen.
struct Forged {
  json::object header;
  std::string payload = "{}";
  json::object more = {};  // members beside the three

  std::string sign(const tls::P256Key& key) const {
    const std::string head = to_base64url(as_bytes(json::serialize(header)));
    const std::string body = to_base64url(as_bytes(payload));
    json::object out = more;
    out["protected"] = head;
    out["payload"] = body;
    out["signature"] = to_base64url(key.sign(as_bytes(head + "." + body)));
    return json::serialize(out);
  }
};

const std::string kNewOrder = kBase + std::string("/acme/new-order");

TEST_F(AuthorityTest, EachNonceCountsOnce) {
  const Client client = registered();
  const std::string body =
      acme::sign_jws(client.key, {.url = kNewOrder, .nonce = nonce(), .account_url = client.account},
                     order_payload({"a.test"}));
  EXPECT_EQ(post_body("/acme/new-order", body).status, 201);
  const Answer replayed = post_body("/acme/new-order", body);
  EXPECT_EQ(replayed.status, 400);
  EXPECT_EQ(replayed.problem(), "badNonce");
  for (const std::string& bad : {std::string(), std::string("AAAA"), std::string("../x")}) {
    const std::string forged =
        acme::sign_jws(client.key, {.url = kNewOrder, .nonce = bad, .account_url = client.account}, "{}");
    EXPECT_EQ(post_body("/acme/new-order", forged).problem(), "badNonce");
  }
}

TEST_F(AuthorityTest, TheOldestNoncesMakeRoom) {
  const Client client = registered();
  const std::string old = nonce();
  for (size_t i = 0; i < Nonces::kMaxNonces; ++i) nonce();
  EXPECT_EQ(post_body("/acme/new-order",
                      acme::sign_jws(client.key,
                                     {.url = kNewOrder, .nonce = old, .account_url = client.account}, "{}"))
                .problem(),
            "badNonce");
}

TEST_F(AuthorityTest, ARequestIsForItsUrl) {
  const Client client = registered();
  for (const char* url :
       {"https://ca.test:14000/acme/new-account", "https://other.test/acme/new-order",
        "http://ca.test:14000/acme/new-order", "https://ca.test:14000/acme/new-order?x", ""}) {
    const Answer answer = post_body(
        "/acme/new-order",
        acme::sign_jws(client.key, {.url = url, .nonce = nonce(), .account_url = client.account}, "{}"));
    EXPECT_EQ(answer.status, 401) << url;
    EXPECT_EQ(answer.problem(), "unauthorized") << url;
  }
}

TEST_F(AuthorityTest, ARequestIsOfItsAccount) {
  const Client client = registered(), other = registered();
  const auto with_kid = [&](const std::string& kid) {
    return post_body(
               "/acme/new-order",
               acme::sign_jws(client.key, {.url = kNewOrder, .nonce = nonce(), .account_url = kid}, "{}"))
        .problem();
  };
  EXPECT_EQ(with_kid(other.account), "malformed") << "its signature is not that account's";
  EXPECT_EQ(with_kid(client.account + "x"), "accountDoesNotExist");
  EXPECT_EQ(with_kid(client.account + "/orders"), "accountDoesNotExist");
  EXPECT_EQ(with_kid(client.account.substr(std::string(kBase).size())), "accountDoesNotExist");
  EXPECT_EQ(with_kid("https://evil.test/acme/account/1"), "accountDoesNotExist");
  // The key alone is for new accounts and revocations; an account makes no further one.
  EXPECT_EQ(post(Client{.key = client.key}, "/acme/new-order", "{}").problem(), "malformed");
  EXPECT_EQ(post(client, "/acme/new-account", "{}").problem(), "malformed");
}

TEST_F(AuthorityTest, TheBodyIsOneFlattenedJws) {
  const Client client = registered();
  const auto header = [&](json::object more = {}) {
    json::object out{{"alg", "ES256"}, {"nonce", nonce()}, {"url", kNewOrder}, {"kid", client.account}};
    for (const auto& [name, value] : more) out[name] = value;
    return out;
  };
  const json::value jwk = json::parse(acme::jwk_text(client.key.point()));
  const std::vector<std::pair<Forged, std::string>> cases = {
      {{.header = header(), .more = {{"header", json::object()}}}, "malformed"},
      {{.header = header(), .more = {{"signatures", json::array()}}}, "malformed"},
      {{.header = header({{"crit", json::array{"exp"}}})}, "malformed"},
      {{.header = header({{"jwk", jwk}})}, "malformed"},
      {{.header = header({{"kid", 1}})}, "malformed"},
      {{.header = header({{"alg", "none"}})}, "badSignatureAlgorithm"},
      {{.header = header({{"alg", "HS256"}})}, "badSignatureAlgorithm"},
      {{.header = header({{"alg", "RS256"}})}, "badSignatureAlgorithm"},
      {{.header = header(), .payload = "[]"}, "malformed"},
      {{.header = header(), .payload = "{"}, "malformed"},
      {{.header = header(), .payload = R"({"identifiers":[],"identifiers":[]})"}, "malformed"},
  };
  for (const auto& [forged, problem] : cases) {
    EXPECT_EQ(post_body("/acme/new-order", forged.sign(client.key)).problem(), problem)
        << json::serialize(forged.header) << json::serialize(forged.more);
  }
  std::string nested(2000, '[');
  for (const std::string& body :
       {std::string(), std::string("{}"), std::string("[]"), nested,
        std::string(R"({"protected":"*","payload":"","signature":""})"),
        std::string(R"({"protected":"e30","payload":"","signature":""})"), std::string("\xff\xfe")}) {
    EXPECT_EQ(post_body("/acme/new-order", body).problem(), "malformed") << body;
  }
}

TEST_F(AuthorityTest, TheSignatureCoversEverything) {
  const Client client = registered();
  const std::string body =
      acme::sign_jws(client.key, {.url = kNewOrder, .nonce = nonce(), .account_url = client.account},
                     order_payload({"a.test"}));
  json::object changed = json::parse(body).as_object();
  changed["payload"] = to_base64url(as_bytes(order_payload({"b.test"})));
  EXPECT_EQ(post_body("/acme/new-order", json::serialize(changed)).problem(), "malformed");
}

TEST_F(AuthorityTest, ContentTypesAndMethods) {
  const Client client = registered();
  const auto signed_body = [&] {
    return acme::sign_jws(client.key, {.url = kNewOrder, .nonce = nonce(), .account_url = client.account},
                          order_payload({"a.test"}));
  };
  for (const char* type : {"application/json", "", "application/jose+jsonx", "text/plain"}) {
    const Answer answer = post_body("/acme/new-order", signed_body(), type);
    EXPECT_EQ(answer.status, 415) << type;
    EXPECT_EQ(answer.problem(), "malformed");
  }
  EXPECT_EQ(post_body("/acme/new-order", signed_body(), "Application/JOSE+JSON; charset=utf-8").status, 201);
  for (const char* method : {"GET", "PUT", "DELETE", "HEAD", "get"}) {
    const Answer answer = get("/acme/new-order", method);
    EXPECT_EQ(answer.status, 405) << method;
    EXPECT_EQ(answer.header("allow"), "POST");
  }
  EXPECT_EQ(get("/directory", "POST").header("allow"), "GET");
  EXPECT_EQ(get("/acme/new-nonce", "POST").header("allow"), "HEAD, GET");
  for (const char* path : {"/", "", "/acme", "/acme/order", "/acme/order/", "/acme/order/x/y", "/directory/",
                           "/acme/challenge/x/0/http-02", "/acme/challenge/x/-1/http-01", "//acme/new-order",
                           "/acme/new-order?x", "/acme/a/b/c/d/e/f/g"}) {
    EXPECT_EQ(get(path).status, 404) << path;
    EXPECT_EQ(get(path).problem(), "malformed") << path;
  }
}

TEST_F(AuthorityTest, KeysOfAccounts) {
  const auto attempt = [&](const std::string& jwk) {
    const json::object header{{"alg", "ES256"},
                              {"nonce", nonce()},
                              {"url", kBase + std::string("/acme/new-account")},
                              {"jwk", json::parse(jwk)}};
    return post_body("/acme/new-account", Forged{.header = header}.sign(tls::P256Key::generate())).problem();
  };
  const std::string x(43, 'A');
  for (const std::string& jwk :
       {std::string("{}"), std::string("1"), std::string(R"({"kty":"oct","k":"AAAA"})"),
        fmt::format(R"({{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}})", x),
        fmt::format(R"({{"kty":"EC","crv":"P-384","x":"{0}","y":"{0}"}})", x),
        fmt::format(R"({{"kty":"OKP","crv":"Ed25519","x":"{}"}})", x),
        fmt::format(R"({{"kty":"RSA","e":"AQAB","n":"{}"}})", std::string(100, 'B')),
        fmt::format(R"({{"kty":"RSA","e":"AQAB","n":"{}"}})", std::string(4000, 'B')),
        fmt::format(R"({{"kty":"RSA","e":"AQ","n":"{}"}})", std::string(343, 'B'))}) {
    EXPECT_EQ(attempt(jwk), "badPublicKey") << jwk;
  }
}

}  // namespace
}  // namespace culvert::ca
