#pragma once
#include "base/random.h"

// Tests only: TLS whose handshakes repeat.
namespace culvert::sim {

// While it lives, OpenSSL takes its randomness from here. One at a time, on one thread.
class SeededOpenssl {
 public:
  explicit SeededOpenssl(uint64_t seed);
  ~SeededOpenssl();
  SeededOpenssl(const SeededOpenssl&) = delete;
};

}  // namespace culvert::sim
