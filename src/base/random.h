#pragma once
#include <cstdint>
#include <random>

#include "base/bytes.h"

namespace culvert {

// Source of randomness, passed in so that a simulated run can repeat. Not thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(MutableBytes out) = 0;

  uint64_t u64();
  // Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound);
};

// The operating system's generator: fit for keys and secrets.
class SystemRandom final : public Random {
 public:
  void fill(MutableBytes out) override;
};

// Repeatable from a seed; for simulation and tests only.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  void fill(MutableBytes out) override;

 private:
  std::mt19937_64 engine_;
};

}  // namespace culvert
