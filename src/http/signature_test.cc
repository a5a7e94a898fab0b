#include "http/signature.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <functional>

#include "base/encoding.h"
#include "base/small_order_keys.h"

namespace culvert::http {
namespace {

using namespace std::chrono_literals;

constexpr const char* kTag = "culvert-lease";
const UnixTime kNow{std::chrono::seconds(1'700'000'000)};

SecretKey test_key(uint64_t seed = 1) {
  SeededRandom random(seed);
  return SecretKey::generate(random);
}

Request unsigned_request() {
  Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = R"({"a":1})"};
  request.headers.add("Host", "hub.example");
  return request;
}

Request signed_request(UnixTime when = kNow, std::string_view tag = kTag) {
  SeededRandom random(7);
  Request request = unsigned_request();
  sign_request(request, test_key(), tag, when, random);
  return request;
}

// The same request with one header field rewritten.
Request rewritten(const Request& request, std::string_view field,
                  const std::function<std::string(std::string)>& rewrite) {
  Request changed = request;
  changed.headers = {};
  for (const auto& [name, value] : request.headers)
    changed.headers.add(name, name == field ? rewrite(value) : value);
  return changed;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what << " in " << text;
  return text.replace(at, what.size(), with);
}

void expect_refused(const Request& request, std::string_view reason, UnixTime now = kNow) {
  auto verified = verify_request(request, kTag, now);
  ASSERT_FALSE(verified.has_value()) << reason;
  EXPECT_EQ(verified.error().code, ErrorCode::kUnauthorized);
  EXPECT_NE(verified.error().message.find(reason), std::string::npos) << verified.error().message;
}

// RFC 9421, B.2.6: the ed25519 example, with the key of B.1.4.
TEST(Signature, AgreesWithTheRfcsExample) {
  Request request{
      .method = "POST", .target = "/foo?param=Value&Pet=dog", .headers = {}, .body = R"({"hello": "world"})"};
  request.headers.add("Host", "example.com");
  request.headers.add("Date", "Tue, 20 Apr 2021 02:07:55 GMT");
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Content-Length", "18");
  auto base = signature_base(
      request, {"date", "@method", "@path", "@authority", "content-type", "content-length"},
      R"(("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519")");
  ASSERT_TRUE(base.has_value());
  EXPECT_EQ(*base, R"("date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519")");
  auto key = PublicKey::from_bytes(*from_base64("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="));
  ASSERT_TRUE(key.has_value());
  auto bytes =
      from_base64("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==");
  Signature signature;
  ASSERT_EQ(bytes->size(), signature.size());
  std::ranges::copy(*bytes, signature.begin());
  EXPECT_TRUE(key->verify(as_bytes(*base), signature));
}

TEST(Signature, VerifiesWhatItSigns) {
  Request request = signed_request();
  auto verified = verify_request(request, kTag, kNow);
  ASSERT_TRUE(verified.has_value()) << verified.error().message;
  EXPECT_EQ(verified->key, test_key().public_key());
  EXPECT_EQ(verified->created, kNow);
  EXPECT_EQ(verified->nonce.size(), 22u);
}

TEST(Signature, TheClaimedKeyIsThatOfItsTag) {
  Request request = signed_request();
  EXPECT_EQ(claimed_key(request, kTag), test_key().public_key().to_string());
  EXPECT_EQ(claimed_key(request, "another tag"), "");
  EXPECT_EQ(claimed_key(unsigned_request(), kTag), "");
  request.body += "x";
  EXPECT_EQ(claimed_key(request, kTag), test_key().public_key().to_string()) << "nothing is verified";
  const std::string name = test_key().public_key().to_string();
  std::string upper_case = name;
  std::ranges::transform(upper_case, upper_case.begin(), [](unsigned char c) { return std::toupper(c); });
  for (const auto& [id, expected] :
       {std::pair<std::string, std::string>{upper_case, name}, {name.substr(1), ""}, {name + "0", ""}}) {
    Request other = unsigned_request();
    other.headers.add("Signature-Input", fmt::format("sig1=();keyid=\"{}\";tag=\"{}\"", id, kTag));
    EXPECT_EQ(claimed_key(other, kTag), expected);
  }
  Request nonsense = unsigned_request();
  nonsense.headers.add("Signature-Input", "sig1=((");
  EXPECT_EQ(claimed_key(nonsense, kTag), "");
}

TEST(Signature, CoversTheQueryWhenThereIsOne) {
  SeededRandom random(7);
  Request request = unsigned_request();
  request.target = "/v1/leases?a=1";
  sign_request(request, test_key(), kTag, kNow, random);
  EXPECT_TRUE(verify_request(request, kTag, kNow).has_value());
  request.target = "/v1/leases?a=2";
  expect_refused(request, "does not verify");
  Request open = signed_request();
  open.target += "?a=1";
  expect_refused(open, "does not cover \"@query\"");
}

TEST(Signature, RefusesWhatWasTamperedWith) {
  Request method = signed_request();
  method.method = "PUT";
  expect_refused(method, "does not verify");
  Request path = signed_request();
  path.target = "/v1/invites";
  expect_refused(path, "does not verify");
  Request body = signed_request();
  body.body += " ";
  expect_refused(body, "does not fit the body");
  Request request = signed_request();
  std::string other_digest = *rewritten(request, "", {}).headers.find("Content-Digest");
  {
    // A body and its digest exchanged together: the signature covers the digest.
    SeededRandom random(9);
    Request other = unsigned_request();
    other.body = "other";
    sign_request(other, test_key(2), kTag, kNow, random);
    Request mixed = rewritten(request, "Content-Digest",
                              [&](std::string) { return *other.headers.find("Content-Digest"); });
    mixed.body = other.body;
    expect_refused(mixed, "does not verify");
  }
  auto parameter = [&](std::string_view what, std::string_view with) {
    return rewritten(request, "Signature-Input",
                     [&](std::string text) { return replaced(text, what, with); });
  };
  expect_refused(parameter("created=1700000000", "created=1700000001"), "does not verify");
  expect_refused(parameter("nonce=\"", "nonce=\"A"), "does not verify");
  expect_refused(parameter(test_key().public_key().to_string(), test_key(2).public_key().to_string()),
                 "does not verify");
  expect_refused(parameter("(\"@method\" \"@path\"", "(\"@path\" \"@method\""), "does not verify");
}

TEST(Signature, SaysWhichPartIsMissingOrWrong) {
  Request request = signed_request();
  auto input = [&](std::string_view what, std::string_view with) {
    return rewritten(request, "Signature-Input",
                     [&](std::string text) { return replaced(text, what, with); });
  };
  auto without = [&](std::string_view field) {
    Request changed = request;
    changed.headers = {};
    for (const auto& [name, value] : request.headers) {
      if (name != field) changed.headers.add(name, value);
    }
    return changed;
  };
  expect_refused(unsigned_request(), "no Signature");
  expect_refused(without("Signature"), "no Signature");
  expect_refused(without("Signature-Input"), "no Signature");
  expect_refused(without("Content-Digest"), "no Content-Digest");
  expect_refused(input("(\"@method\" ", "("), "does not cover \"@method\"");
  expect_refused(input(" \"@path\"", ""), "does not cover \"@path\"");
  expect_refused(input(" \"content-digest\"", ""), "does not cover \"content-digest\"");
  expect_refused(input("\"@path\"", "\"@path\" \"@path\""), "twice");
  expect_refused(input("\"@path\"", "\"@path\" \"x-absent\""), "missing or not understood");
  expect_refused(input("\"@path\"", "\"@path\" \"@request-target\""), "missing or not understood");
  expect_refused(input("created=1700000000", "created=\"1700000000\""), "no created");
  expect_refused(input(";created=1700000000", ""), "no created");
  expect_refused(input("nonce=", "nance="), "no nonce");
  expect_refused(input("keyid=", "kexid="), "no keyid");
  expect_refused(input("keyid=\"", "keyid=\"0"), "not a public key");
  expect_refused(input(test_key().public_key().to_string(), std::string(64, 'z')), "not a public key");
  expect_refused(input("alg=\"ed25519\"", "alg=\"hmac-sha256\""), "alg is not");
  expect_refused(input("alg=\"ed25519\";", ""), "alg is not");
  expect_refused(input("tag=\"culvert-lease\"", "tag=\"other\""), "tag");
  expect_refused(input(";tag=\"culvert-lease\"", ""), "tag");
  expect_refused(input("sig1=", "sig2="), "no member for that label");
  expect_refused(input("sig1=(", "sig1=(("), "Signature-Input");
  expect_refused(input("alg=", "expires=1699999999;alg="), "expired");
  expect_refused(rewritten(request, "Signature", [](std::string) { return "sig1=:AAAA:"; }), "64 bytes");
  expect_refused(rewritten(request, "Signature", [](std::string) { return "sig1"; }), "Signature:");
  expect_refused(rewritten(request, "Content-Digest", [](std::string) { return "sha-512=:AAAA:"; }),
                 "no sha-256");
  expect_refused(rewritten(request, "Content-Digest", [](std::string) { return "sha-256"; }),
                 "Content-Digest:");
  for (size_t length : {15u, 65u}) {
    auto nonce = "nonce=\"" + std::string(length, 'n') + "\";x=\"";
    expect_refused(input("nonce=\"", nonce), "nonce is not");
  }
}

TEST(Signature, RefusesAKeyOfSmallOrder) {
  Request request = signed_request();
  for (const char* key : kSmallOrderKeys) {
    auto forged = rewritten(request, "Signature-Input", [&](std::string text) {
      return replaced(text, test_key().public_key().to_string(), key);
    });
    expect_refused(forged, "not a public key");
  }
}

TEST(Signature, RefusesAnotherTag) {
  auto verified = verify_request(signed_request(kNow, "other"), kTag, kNow);
  ASSERT_FALSE(verified.has_value());
}

TEST(Signature, FindsItsTagAmongSeveral) {
  Request request = signed_request();
  Request two = rewritten(request, "Signature-Input",
                          [](std::string text) { return "proxy=(\"@method\");tag=\"p\", " + text; });
  two = rewritten(two, "Signature", [](std::string text) { return "proxy=:AAAA:, " + text; });
  EXPECT_TRUE(verify_request(two, kTag, kNow).has_value());
}

TEST(Signature, AllowsTheClocksToDifferAMinuteAndNoMore) {
  EXPECT_TRUE(verify_request(signed_request(kNow - 60s), kTag, kNow).has_value());
  EXPECT_TRUE(verify_request(signed_request(kNow + 60s), kTag, kNow).has_value());
  expect_refused(signed_request(kNow - 61s), "61 s behind this server's");
  expect_refused(signed_request(kNow + 61s), "61 s ahead of this server's");
}

// What was captured and is shown to a server that was started since, or to another one, must not pass.
TEST(ReplayGuard, EveryProcessIsAnotherInstance) {
  SeededRandom random(1);
  ReplayGuard before(random);
  ReplayGuard after(random);
  EXPECT_EQ(before.instance().size(), 22u);
  Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"};
  EXPECT_FALSE(before.is_addressed(request));
  request.headers.add(std::string(kInstanceField), before.instance());
  EXPECT_TRUE(before.is_addressed(request));
  EXPECT_FALSE(after.is_addressed(request));
  request.headers.add(std::string(kInstanceField), after.instance());
  EXPECT_FALSE(before.is_addressed(request)) << "not for both";
  EXPECT_FALSE(after.is_addressed(request));
}

// The instance is part of what is signed: nobody can readdress a request, or say that it is for nobody.
TEST(ReplayGuard, TheInstanceIsSigned) {
  SeededRandom random(1);
  Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"};
  request.headers.add(std::string(kInstanceField), "instance-a");
  sign_request(request, test_key(), "t", kNow, random);
  EXPECT_TRUE(verify_request(request, "t", kNow));
  Request unaddressed{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"};
  sign_request(unaddressed, test_key(), "t", kNow, random);
  EXPECT_TRUE(verify_request(unaddressed, "t", kNow));
  unaddressed.headers.add(std::string(kInstanceField), "instance-a");
  auto added = verify_request(unaddressed, "t", kNow);
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message.find("does not cover \"culvert-hub-instance\""), std::string::npos);
  Request readdressed{.method = "POST", .target = "/v1/leases", .headers = {}, .body = "{}"};
  for (const auto& [name, value] : request.headers)
    readdressed.headers.add(name, name == kInstanceField ? "instance-b" : value);
  EXPECT_FALSE(verify_request(readdressed, "t", kNow));
}

TEST(ReplayGuard, RefusesANonceForAsLongAsItsSignatureLives) {
  SeededRandom random(1);
  ReplayGuard guard(random);
  VerifiedSignature one{test_key().public_key(), kNow, "nonce"};
  EXPECT_TRUE(guard.admit(one, kNow).has_value());
  for (auto later : {0s, 30s, 60s}) {
    auto again = guard.admit(one, kNow + later);
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().code, ErrorCode::kUnauthorized);
  }
  VerifiedSignature other_key{test_key(2).public_key(), kNow, "nonce"};
  EXPECT_TRUE(guard.admit(other_key, kNow).has_value());
  VerifiedSignature from_the_future{test_key().public_key(), kNow + 60s, "future"};
  EXPECT_TRUE(guard.admit(from_the_future, kNow).has_value());
  EXPECT_FALSE(guard.admit(from_the_future, kNow + 119s).has_value());
}

TEST(ReplayGuard, IsBoundedAndForgetsWhatIsStale) {
  SeededRandom random(1);
  ReplayGuard guard(random);
  PublicKey key = test_key().public_key();
  for (size_t i = 0; i < ReplayGuard::kMaxEntries; ++i) {
    ASSERT_TRUE(guard.admit({key, kNow, fmt::format("nonce{}", i)}, kNow).has_value());
  }
  auto full = guard.admit({key, kNow, "one more"}, kNow + 1s);
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, ErrorCode::kLimit);
  EXPECT_TRUE(guard.admit({key, kNow + 62s, "later"}, kNow + 62s).has_value());
  // A clock set back a year must not keep it from forgetting.
  for (size_t i = 0; i < ReplayGuard::kMaxEntries; ++i) {
    (void)guard.admit({key, kNow, fmt::format("more{}", i)}, kNow + 62s);
  }
  EXPECT_TRUE(guard.admit({key, kNow + 200s, "x"}, kNow + 200s).has_value());
}

}  // namespace
}  // namespace culvert::http
