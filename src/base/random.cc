#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace culvert {

uint64_t Random::u64() {
  uint8_t raw[8];
  fill(raw);
  uint64_t value = 0;
  for (uint8_t byte : raw) value = value << 8 | byte;
  return value;
}

uint64_t Random::below(uint64_t bound) {
  CHECK(bound > 0);
  // Values past the last whole multiple of bound would favour small results; draw again.
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value = u64();
  while (value >= limit) value = u64();
  return value % bound;
}

void SystemRandom::fill(MutableBytes out) {
  while (!out.empty()) {
    ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CHECK(got > 0);
    out = out.subspan(static_cast<size_t>(got));
  }
}

void SeededRandom::fill(MutableBytes out) {
  for (size_t i = 0; i < out.size(); i += 8) {
    uint64_t word = engine_();
    for (size_t j = i; j < out.size() && j < i + 8; ++j, word >>= 8) out[j] = static_cast<uint8_t>(word);
  }
}

}  // namespace culvert
