#pragma once
#include <optional>

#include "acme/challenge.h"
#include "acme/problem.h"
#include "ca/http_location.h"
#include "net/event_loop.h"

namespace culvert::ca {

struct ValidatorOptions {
  HttpPorts ports = {};  // of the hosts that are looked at; public CAs know only 80 and 443
  // A public CA takes an answer from several places of the internet within seconds; here one place asks
  // several times, so that an answer may come a little late.
  int tries = 3;
  Duration pause = std::chrono::seconds(1);  // after the first one; twice as long after each further one
  Duration try_time = std::chrono::seconds(10);
};

// Looks at the hosts of names whether they answer challenges: over HTTP (RFC 8555, 8.3), TLS (RFC 8737, 3) or
// DNS (RFC 8555, 8.4). Addresses and records are those that the loop's resolver finds. Lives on one loop.
class Validator {
 public:
  Validator(net::EventLoop& loop, ValidatorOptions options) : loop_(loop), options_(options) {}

  // nullopt: the challenge is answered; otherwise what the last try found.
  net::Task<std::optional<acme::Problem>> validate(acme::Challenge challenge);

 private:
  using Found = std::optional<acme::Problem>;

  net::Task<Found> look(acme::Challenge challenge, TimePoint deadline);
  net::Task<Found> look_over_http(acme::Challenge challenge, TimePoint deadline);
  net::Task<Found> look_over_tls(acme::Challenge challenge, TimePoint deadline);
  net::Task<Found> look_in_dns(acme::Challenge challenge, TimePoint deadline);

  net::EventLoop& loop_;
  const ValidatorOptions options_;
};

}  // namespace culvert::ca
