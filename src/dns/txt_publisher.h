#pragma once
#include <string>

#include "base/result.h"
#include "dns/name.h"
#include "net/event_loop.h"

namespace culvert::dns {

class Authority;

// What puts TXT values where the name servers of a name have them, and takes them away again: for DNS-01 of
// ACME (RFC 8555, 8.4). Several values of one name stand beside each other, and both calls may be repeated.
// It outlives its calls.
class TxtPublisher {
 public:
  virtual ~TxtPublisher() = default;

  // When put() has returned, a secondary server may still miss the value: see wait_until_visible(). Errors
  // say what to do; kUnavailable and kTimeout may pass by themselves.
  virtual net::Task<Result<>> put(Name name, std::string value) = 0;
  virtual net::Task<Result<>> remove(Name name, std::string value) = 0;
};

// Into the zones of our own server. `authority` outlives it.
class ZonePublisher final : public TxtPublisher {
 public:
  explicit ZonePublisher(Authority& authority) : authority_(authority) {}

  // kInvalid: none of the zones has the name.
  net::Task<Result<>> put(Name name, std::string value) override;
  net::Task<Result<>> remove(Name name, std::string value) override;

 private:
  Authority& authority_;
};

}  // namespace culvert::dns
