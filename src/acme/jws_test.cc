#include "acme/jws.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/crypto.h"
#include "base/encoding.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

// The key of RFC 7515, A.3.
tls::P256Key known_key() {
  return tls::P256Key::from_pem(
             "-----BEGIN EC PRIVATE KEY-----\n"
             "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49AwEHoUQDQgAE\n"
             "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2K\n"
             "RiMohYjlrQ==\n"
             "-----END EC PRIVATE KEY-----\n")
      .value();
}

std::string decoded(const json::value& text) {
  return std::string(as_text(from_base64url(std::string_view(text.as_string())).value()));
}

// Computed by Python's hashlib.
TEST(Jws, Thumbprint) {
  EXPECT_EQ(jwk_thumbprint(known_key()), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

TEST(Jws, NamesTheKeyOrTheAccount) {
  const tls::P256Key key = known_key();
  const std::string url = "https://acme.example/new-\"order";
  for (const std::string& account : {std::string(), std::string("https://acme.example/acct/1")}) {
    const json::value jws =
        json::parse(sign_jws(key, {.url = url, .nonce = "n-1", .account_url = account}, "{}"));
    EXPECT_EQ(jws.as_object().size(), 3u);
    EXPECT_EQ(decoded(jws.at("payload")), "{}");
    const json::object header = json::parse(decoded(jws.at("protected"))).as_object();
    EXPECT_EQ(header.size(), 4u);
    EXPECT_EQ(header.at("alg").as_string(), "ES256");
    EXPECT_EQ(header.at("nonce").as_string(), "n-1");
    EXPECT_EQ(header.at("url").as_string(), url);
    if (account.empty()) {
      EXPECT_EQ(header.at("jwk").at("x").as_string(), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
      EXPECT_EQ(header.at("jwk").as_object().size(), 4u) << "the private part does not leave";
    } else {
      EXPECT_EQ(header.at("kid").as_string(), account);
    }
    EXPECT_EQ(from_base64url(std::string_view(jws.at("signature").as_string()))->size(), 64u);
  }
  const json::value get = json::parse(sign_jws(key, {.url = url, .nonce = "n", .account_url = "k"}, ""));
  EXPECT_EQ(get.at("payload").as_string(), "");
}

TEST(Jws, BindsAnExternalAccount) {
  const auto account = parse_external_account("kid-1", "c2VjcmV0LW1hYy1rZXk=");
  ASSERT_TRUE(account) << account.error().message;
  const json::value jws =
      json::parse(sign_external_binding(*account, known_key(), "https://acme.example/new-account"));
  const json::object header = json::parse(decoded(jws.at("protected"))).as_object();
  EXPECT_EQ(header.size(), 3u) << "no nonce";
  EXPECT_EQ(header.at("alg").as_string(), "HS256");
  EXPECT_EQ(header.at("kid").as_string(), "kid-1");
  EXPECT_EQ(header.at("url").as_string(), "https://acme.example/new-account");
  EXPECT_EQ(json::parse(decoded(jws.at("payload"))).at("kty").as_string(), "EC");
  const std::string input = std::string(std::string_view(jws.at("protected").as_string())) + "." +
                            std::string(std::string_view(jws.at("payload").as_string()));
  EXPECT_EQ(std::string_view(jws.at("signature").as_string()),
            to_base64url(hmac_sha256(as_bytes("secret-mac-key"), as_bytes(input))));
}

TEST(Jws, ExternalAccountsNeedBothParts) {
  EXPECT_TRUE(parse_external_account("kid-1", "c2VjcmV0"));
  EXPECT_FALSE(parse_external_account("", "c2VjcmV0"));
  EXPECT_FALSE(parse_external_account("kid-1", ""));
  const auto broken = parse_external_account("kid-1", "not base64!");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message.find("not base64!"), std::string::npos);
}

}  // namespace
}  // namespace culvert::acme
