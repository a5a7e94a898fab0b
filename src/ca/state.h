#pragma once
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "acme/challenge.h"
#include "acme/jws.h"
#include "base/random.h"
#include "ca/account.h"
#include "ca/counters.h"
#include "ca/issued_certificate.h"
#include "ca/nonces.h"
#include "ca/order.h"
#include "ca/refusal.h"
#include "ca/resource.h"
#include "ca/signed_request.h"
#include "ca/store.h"
#include "tls/tls.h"

// What the handlers of requests share.
namespace culvert::ca {

struct AuthorityOptions {
  std::string base_url = {};  // "https://localhost:14000", without a slash at its end
  std::chrono::seconds lifetime = std::chrono::days(30);  // of certificates
  // Names are these or below them; empty: every name.
  std::vector<std::string> domains = {};
  // The only one that may make accounts; not set: anyone may.
  std::optional<acme::ExternalAccount> external_account = std::nullopt;
};

// A challenge whose answer is to be looked at.
struct Validation {
  std::string order_id;
  size_t authorization;  // of the order
  acme::Challenge challenge;
};

// What operators want to know. What clients cause is the observer's to bound.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void issued(const IssuedCertificate&) {}
  virtual void revoked(const IssuedCertificate&) {}
  // `problem`: why the challenge is invalid.
  virtual void validated(const Validation&, const std::optional<acme::Problem>& /*problem*/) {}
  virtual void refused(std::string_view /*method*/, std::string_view /*path*/, const Refusal&) {}
  // Something of ours does not work: the store, or the root.
  virtual void fault(const Error&) {}
};

struct State {
  AuthorityOptions options;
  const tls::InternalCa& root;
  Store& store;
  Random& random;
  Observer& observer;
  Nonces nonces = {};
  Accounts accounts = {};
  Orders orders = {};
  IssuedCertificates certificates = {};
  std::deque<Validation> validations = {};  // that wait to begin; at most one for each challenge
  Counters counters = {};

  std::string url(const Resource& resource) const { return options.base_url + resource.path(); }
  // 128 random bits in base64url: an id that nobody guesses, or the token of a challenge.
  std::string new_id() {
    std::array<uint8_t, 16> bytes;
    random.fill(bytes);
    return to_base64url(bytes);
  }
  // Stores it and takes it over. Refuses with serverInternal when it cannot be stored: nothing has changed.
  Outcome<> keep(Account account);
  Outcome<> keep(IssuedCertificate certificate, UnixTime now);

 private:
  Outcome<> after_store(const Result<>& stored);
};

// A request whose signature was checked.
struct Call {
  const Resource& resource;
  const SignedRequest& request;
  const Account* account;  // nullptr: the request names its key itself
  UnixTime now;
};

}  // namespace culvert::ca
