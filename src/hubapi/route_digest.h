#pragma once
#include <array>
#include <cstdint>

#include "base/crypto.h"

namespace culvert::hubapi {

// A digest of a set of routes that is kept in O(change): LtHash, a sum of 1024 lanes of 16 bits over the
// elements (Bellare and Micciancio, "A new paradigm for collision-free hashing", 1997; the parameters of
// Lewi et al., "Securing update propagation with homomorphic hashing", 2019). Elements are the SHA-256 of the
// routes' texts.
class RouteDigest {
 public:
  void add(const Sha256& route);
  // One that was added.
  void remove(const Sha256& route);
  // Of all that is in it, whatever the order in which it came.
  Sha256 value() const;

 private:
  std::array<uint16_t, 1024> lanes_{};
};

}  // namespace culvert::hubapi
