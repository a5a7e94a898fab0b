#pragma once
#include <optional>

#include "ca/account_handler.h"
#include "ca/certificate_handler.h"
#include "ca/order_handler.h"
#include "ca/state.h"

namespace culvert::ca {

// A certificate authority that speaks ACME (RFC 8555, RFC 9773), without I/O: requests in, answers and
// validations out. Whoever runs it looks at the names and tells what was found.
class Authority {
 public:
  // A request's body: a CSR for Orders::kMaxNames long names, in base64url twice, is less.
  static constexpr size_t kMaxBody = 128 * 1024;

  // All outlive it.
  Authority(AuthorityOptions options, const tls::InternalCa& root, Store& store, Random& random,
            Observer& observer);
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  // Reads what is stored; once, before the first request. An error is one of the store.
  Result<> load(UnixTime now);

  // Any request; refusals are answers as well. Each answer to a POST has a fresh nonce.
  http::Response answer(const http::Request& request, UnixTime now);
  // An answer to a request that could not be read.
  http::Response answer_to_unreadable(int status, std::string_view reason);

  // The next one to begin; nullopt: none waits. Each is finished once, by its outcome.
  std::optional<Validation> take_validation();
  // `problem`: why the challenge is not answered.
  void finish(const Validation& validation, const std::optional<acme::Problem>& problem, UnixTime now);

  Counters& counters() { return state_.counters; }
  const Counters& counters() const { return state_.counters; }

 private:
  Outcome<http::Response> serve(const http::Request& request, std::string_view path, UnixTime now);
  Outcome<http::Response> serve_public(const Resource& resource, UnixTime now);
  Outcome<http::Response> serve_signed(const http::Request& request, const Resource& resource, UnixTime now);
  Outcome<http::Response> dispatch(const Call& call);
  // Who signed it; nullptr: the key that the request has.
  Outcome<const Account*> find_signer(const Resource& resource, const SignedRequest& request) const;
  http::Response directory() const;
  http::Response refused(const Refusal& refusal);

  State state_;
  AccountHandler accounts_;
  OrderHandler orders_;
  CertificateHandler certificates_;
};

}  // namespace culvert::ca
