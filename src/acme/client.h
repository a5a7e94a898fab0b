#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acme/documents.h"
#include "acme/https_client.h"
#include "acme/https_url.h"
#include "acme/jws.h"
#include "acme/problem.h"
#include "net/event_loop.h"
#include "tls/p256_key.h"

namespace culvert::acme {

// A CA as its operator configures it.
struct Ca {
  HttpsUrl directory;
  std::string root_pem = {};  // whom to believe that it is the CA; empty: the roots of the system
  std::string contact = {};   // a mail address, or empty
  bool terms_agreed = false;  // by the operator; needed where the CA has terms of service
  std::optional<ExternalAccount> external_account = std::nullopt;
  std::string profile = {};         // of certificates; empty: the CA's default
  std::string preferred_root = {};  // common name of the root of the chain to take, where there are several
};

// With a CA. Shared by the clients that use it, on one loop.
struct Account {
  tls::P256Key key;
  std::string url = {};  // empty: not registered yet
};

// The requests of RFC 8555 to one CA: one at a time, on one loop. It registers the account when that is
// needed, also one that the CA has forgotten, and repeats what was refused for its nonce.
class Client {
 public:
  // A document of a CA, and the longest chain: 8 certificates with post-quantum signatures.
  static constexpr size_t kMaxDocument = 64 * 1024;
  static constexpr size_t kMaxChain = 256 * 1024;
  // A CA that refuses its own nonces more often in a row is broken; one that refuses half of them at random
  // (pebble) fails one request in a thousand.
  static constexpr int kMaxNonceRetries = 10;

  // All requests end by `deadline`. `account` is set when it is registered.
  Client(net::EventLoop& loop, Ca ca, std::shared_ptr<Account> account, TimePoint deadline);

  // Where and what the CA is; fetched once.
  net::Task<Outcome<Directory>> directory();
  // Registers the account, or finds it by its key; nothing to do when its URL is known.
  net::Task<Outcome<>> ensure_account();

  struct PlacedOrder {
    std::string url;
    Order order;
  };
  // `replaces`: the renewal_id() of the certificate that it renews, or empty. It is left out where the CA has
  // no RFC 9773.
  net::Task<Outcome<PlacedOrder>> new_order(std::vector<std::string> names, std::string replaces);
  net::Task<Outcome<Authorization>> authorization(std::string url);
  // Tells the CA to look.
  net::Task<Outcome<>> begin_challenge(std::string url);
  // Asks until the authorization is pending no more.
  net::Task<Outcome<Authorization>> wait_for_authorization(std::string url);
  // Sends the request for the certificate (DER), asks until it is issued, and fetches it: PEM, leaf first.
  net::Task<Outcome<std::string>> finalize(PlacedOrder placed, Bytes request_der);
  // A certificate (DER) that was issued to this account.
  net::Task<Outcome<>> revoke(Bytes certificate_der);

  struct RenewalInfo {
    RenewalWindow window;
    std::optional<Duration> retry_after;  // when to ask again
  };
  // kNotFound: the CA has no RFC 9773.
  net::Task<Outcome<RenewalInfo>> renewal_info(std::string id);

 private:
  struct Post;

  net::Task<Outcome<http::Response>> call(HttpsUrl url, http::Request request, size_t cap);
  net::Task<Outcome<http::Response>> get(std::string what, std::string url, size_t cap);
  net::Task<Outcome<std::string>> take_nonce();
  net::Task<Outcome<http::Response>> post_once(Post post, std::string nonce);
  net::Task<Outcome<http::Response>> post_with_nonces(Post post);
  net::Task<Outcome<http::Response>> post(Post post);
  net::Task<Outcome<>> register_account();
  net::Task<Outcome<Order>> wait_for_order(std::string url, OrderStatus wanted, std::string what);
  net::Task<Outcome<std::string>> download(std::string url);
  net::Task<bool> pause(Duration wait);

  Failure failed(Error error) const;
  // Of an answer with an error status.
  Failure refusal(std::string_view what, const http::Response& response) const;
  Failure unusable(std::string_view what, const Error& error) const;
  std::string name() const { return "the CA " + ca_.directory.authority(); }

  net::EventLoop& loop_;
  const Ca ca_;
  const std::shared_ptr<Account> account_;
  const TimePoint deadline_;
  HttpsClient https_;
  std::optional<Directory> directory_;
  std::optional<std::string> nonce_;  // the newest: CAs forget old ones
};

}  // namespace culvert::acme
