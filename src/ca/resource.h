#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "acme/challenge.h"

namespace culvert::ca {

// What a URL of the server stands for.
struct Resource {
  enum class Kind : uint8_t {
    kDirectory,
    kRoot,  // the root certificate, in PEM
    kNewNonce,
    kRenewalInfo,  // of the certificate that RFC 9773 calls `id`
    kNewAccount,
    kKeyChange,
    kNewOrder,
    kRevocation,
    kAccount,
    kAccountOrders,
    kOrder,
    kFinalization,
    kAuthorization,  // number `index` of the order `id`
    kChallenge,      // its challenge of this type
    kCertificate,
  };
  Kind kind;
  std::string id = {};
  size_t index = 0;
  acme::ChallengeType type = {};

  std::string path() const;
  // Read by GET, without a signature.
  bool is_public() const { return kind <= Kind::kRenewalInfo; }
};

// nullopt: no resource has this path. That an id is one of something is the caller's to see.
std::optional<Resource> parse_resource(std::string_view path);

}  // namespace culvert::ca
