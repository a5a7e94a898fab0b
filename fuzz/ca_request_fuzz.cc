#include "acme/jws.h"
#include "base/check.h"
#include "base/text.h"
#include "ca/authority.h"
#include "ca/http_location.h"
#include "ca/memory_store_fixture.h"
#include "tls/root_certificate.h"

using namespace culvert;
using namespace culvert::ca;

namespace {

constexpr const char* kBase = "https://ca.test";
const UnixTime kNow{std::chrono::seconds(1'800'000'000)};

// A server with one account.
class Server {
 public:
  Server() {
    authority_.emplace(AuthorityOptions{.base_url = kBase, .domains = {"test"}}, *root_, store_, random_,
                       observer_);
    CHECK(authority_->load(kNow));
    const http::Response made = post("/acme/new-account", "{}");
    CHECK(made.status == 201);
    account_ = *made.headers.find("location");
  }

  http::Response ask(http::Request request) {
    http::Response out = authority_->answer(request, kNow);
    CHECK(out.status >= 200 && out.status < 600);
    if (out.status >= 400) CHECK(is_printable(acme::parse_problem(out.status, out.body).detail));
    while (const auto validation = authority_->take_validation()) {
      CHECK(acme::is_challenge_token(validation->challenge.token));
      authority_->finish(*validation, std::nullopt, kNow);
    }
    return out;
  }
  http::Response send(std::string_view path, std::string body) {
    http::Request request{
        .method = "POST", .target = std::string(path), .headers = {}, .body = std::move(body)};
    request.headers.add("Content-Type", "application/jose+json");
    http::Response out = ask(std::move(request));
    CHECK(out.headers.find("replay-nonce") != nullptr);
    return out;
  }
  http::Response post(std::string_view path, std::string_view payload) {
    const http::Response fresh =
        ask({.method = "HEAD", .target = "/acme/new-nonce", .headers = {}, .body = {}});
    return send(path, acme::sign_jws(key_,
                                     {.url = kBase + std::string(path),
                                      .nonce = *fresh.headers.find("replay-nonce"),
                                      .account_url = account_},
                                     payload));
  }

 private:
  const std::unique_ptr<tls::InternalCa> root_ =
      tls::InternalCa::load(tls::InternalCa::create("Fuzz", kNow)).value();
  const tls::P256Key key_ = tls::P256Key::generate();
  ca::testing::MemoryStore store_;
  SeededRandom random_{1};
  Observer observer_;
  std::optional<Authority> authority_;
  std::string account_;
};

Server& server() {
  static Server made;
  return made;
}

template <class T>
void check_said(const Result<T>& result) {
  if (!result) CHECK(!result.error().message.empty());
}

void check_key(std::string_view text) {
  const auto key = parse_account_key(text);
  check_said(key);
  if (!key) return;
  const auto again = parse_account_key(key->jwk);
  CHECK(again && again->jwk == key->jwk && again->thumbprint == key->thumbprint);
  CHECK(!key->key.verify(as_bytes(text), as_bytes(text)));
}

void check_request(std::string_view text) {
  const auto request = tls::CertificateRequest::from_der(as_bytes(text));
  check_said(request);
  if (request)
    CHECK(!request->names().empty() && request->names().size() <= tls::CertificateRequest::kMaxNames);
}

void check_path(std::string_view path) {
  const auto resource = parse_resource(path);
  if (!resource) return;
  const auto again = parse_resource(resource->path());
  CHECK(again && again->kind == resource->kind && again->path() == resource->path());
}

void check_location(std::string_view text) {
  const HttpLocation from{.is_https = false, .host = "a.test", .target = "/"};
  const auto to = from.follow(text, {});
  check_said(to);
  if (to) CHECK(to->target.starts_with('/') && to->target.find_first_of(" \r\n") == std::string::npos);
}

template <class T>
void check_stored(const Result<T>& read) {
  check_said(read);
  if (read) CHECK(!encode(*read).empty());
}

}  // namespace

// The first byte chooses what is read; the rest is what a client sends, or what a file or a host holds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = as_text(ByteView(data + 1, size - 1));
  const std::string_view line = text.substr(0, text.find('\n'));
  const std::string_view rest = text.substr(std::min(line.size() + 1, text.size()));
  switch (data[0]) {
    case 'j':
      server().send("/acme/new-order", std::string(text));
      break;
    case 's':  // a path, and a payload that is signed
      server().post(line, rest);
      break;
    case 'g':
      server().ask({.method = "GET", .target = std::string(text), .headers = {}, .body = {}});
      break;
    case 'k':
      check_key(text);
      break;
    case 'r':
      check_request(text);
      break;
    case 'p':
      check_path(text);
      break;
    case 'l':
      check_location(text);
      break;
    case 'a':
      check_stored(parse_account(text));
      break;
    case 'c':
      check_stored(parse_issued_certificate(text));
      break;
    case 'f':
      check_said(tls::RootCertificate::from_pem(text));
      check_said(tls::parse_fingerprint(text));
      break;
    default:
      break;
  }
  return 0;
}
