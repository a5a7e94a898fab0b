#include "ca/authority_fixture.h"
#include "ca/signed_request.h"

namespace culvert::ca {
namespace {

using ::testing::HasSubstr;
namespace json = boost::json;

using testing::Answer;
using testing::AuthorityTest;
using testing::kBase;

TEST_F(AuthorityTest, AnAccountBelongsToAKey) {
  Client client;
  EXPECT_EQ(post(client, "/acme/new-account", R"({"onlyReturnExisting":true})").problem(),
            "accountDoesNotExist");
  const Answer made = post(client, "/acme/new-account", R"({"contact":["mailto:a@b.test"]})");
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.text("status"), "valid");
  const Answer again = post(client, "/acme/new-account", R"({"onlyReturnExisting":true})");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.header("location"), made.header("location"));
  EXPECT_EQ(again.json().at("contact").at(0).as_string(), "mailto:a@b.test");
  EXPECT_NE(registered().account, made.header("location"));
}

TEST_F(AuthorityTest, ContactsAreMailAddresses) {
  const Client client = registered();
  for (const auto& [contact, problem] : {std::pair("tel:+1", "unsupportedContact"),
                                         {"mailto:", "invalidContact"},
                                         {"mailto:a", "invalidContact"},
                                         {"mailto:a@b,c@d", "invalidContact"},
                                         {"mailto:a@b?subject=x", "invalidContact"}}) {
    EXPECT_EQ(post(client, client.account, fmt::format(R"({{"contact":["{}"]}})", contact)).problem(),
              problem)
        << contact;
  }
  EXPECT_EQ(post(client, client.account, R"({"contact":"mailto:a@b.test"})").problem(), "malformed");
  EXPECT_EQ(post(client, client.account, R"({"contact":["mailto:c@d.test"]})").status, 200);
  EXPECT_THAT(post(client, client.account, "").body, HasSubstr("c@d.test"));
}

TEST_F(AuthorityTest, ADeactivatedAccountIsDeactivatedForEver) {
  const Client client = registered();
  const std::string order = ordered(client, {"a.test"});
  EXPECT_EQ(post(client, client.account, R"({"status":"valid"})").problem(), "malformed");
  EXPECT_EQ(post(client, client.account, R"({"status":"deactivated"})").text("status"), "deactivated");
  EXPECT_EQ(post(client, order, "").problem(), "unauthorized");
  make({});
  EXPECT_EQ(post(client, client.account, "").problem(), "unauthorized");
  EXPECT_EQ(post(Client{.key = client.key}, "/acme/new-account", "{}").problem(), "unauthorized");
}

TEST_F(AuthorityTest, KeysAreChanged) {
  const Client client = registered(), other = registered();
  const std::string url = kBase + std::string("/acme/key-change");
  const auto change = [&](const tls::P256Key& to, const std::string& account, const tls::P256Key& old) {
    const std::string payload =
        fmt::format(R"({{"account":"{}","oldKey":{}}})", account, acme::jwk_text(old.point()));
    // Without a nonce, as the inner one has to be.
    json::object header{{"alg", "ES256"}, {"url", url}, {"jwk", json::parse(acme::jwk_text(to.point()))}};
    const std::string head = to_base64url(as_bytes(json::serialize(header)));
    const std::string body = to_base64url(as_bytes(payload));
    return post(client, url,
                fmt::format(R"({{"protected":"{}","payload":"{}","signature":"{}"}})", head, body,
                            to_base64url(to.sign(as_bytes(head + "." + body)))));
  };
  const tls::P256Key next = tls::P256Key::generate();
  EXPECT_EQ(change(next, other.account, client.key).problem(), "malformed");
  EXPECT_EQ(change(next, client.account, next).problem(), "malformed");
  const Answer taken = change(other.key, client.account, client.key);
  EXPECT_EQ(taken.status, 409);
  EXPECT_EQ(taken.header("location"), other.account);
  EXPECT_EQ(
      post(client, url, acme::sign_jws(next, {.url = url, .nonce = "n", .account_url = {}}, "{}")).problem(),
      "malformed");
  EXPECT_EQ(change(next, client.account, client.key).status, 200);
  EXPECT_EQ(post(client, client.account, "").problem(), "malformed") << "the old key signs nothing";
  EXPECT_EQ(post(Client{.key = next, .account = client.account}, client.account, "").status, 200);
  EXPECT_EQ(post(Client{.key = client.key}, "/acme/new-account", R"({"onlyReturnExisting":true})").problem(),
            "accountDoesNotExist");
}

TEST_F(AuthorityTest, ExternalAccountsAreRequired) {
  make({.external_account = acme::parse_external_account("kid-1", SecretString("c2VjcmV0")).value()});
  EXPECT_TRUE(acme::parse_directory(get("/directory").body)->external_account_required);
  const std::string url = kBase + std::string("/acme/new-account");
  const auto attempt = [&](const char* key_id, const char* mac_key, const std::string& for_url,
                           const tls::P256Key& for_key, const Client& by) {
    const auto account = acme::parse_external_account(key_id, SecretString(mac_key)).value();
    return post(by, url,
                fmt::format(R"({{"externalAccountBinding":{}}})",
                            acme::sign_external_binding(account, for_key, for_url)));
  };
  const Client client;
  EXPECT_EQ(post(client, url, "{}").problem(), "externalAccountRequired");
  EXPECT_EQ(attempt("kid-2", "c2VjcmV0", url, client.key, client).problem(), "unauthorized");
  EXPECT_EQ(attempt("kid-1", "b3RoZXI", url, client.key, client).problem(), "unauthorized");
  EXPECT_EQ(attempt("kid-1", "c2VjcmV0", url + "x", client.key, client).problem(), "malformed");
  EXPECT_EQ(attempt("kid-1", "c2VjcmV0", url, tls::P256Key::generate(), client).problem(), "malformed");
  EXPECT_EQ(post(client, url, R"({"externalAccountBinding":1})").problem(), "malformed");
  EXPECT_EQ(attempt("kid-1", "c2VjcmV0", url, client.key, client).status, 201);
}

}  // namespace
}  // namespace culvert::ca
