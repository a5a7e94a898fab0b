#include "sim/product/seeded_openssl.h"

// RAND_set_rand_method is deprecated in favour of providers, which are a hundred lines for the same.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/rand.h>

#include <optional>

#include "base/check.h"

namespace culvert::sim {
namespace {

std::optional<SeededRandom> g_random;

int fill(unsigned char* out, int size) {
  g_random->fill(MutableBytes(out, static_cast<size_t>(size)));
  return 1;
}

int is_seeded() { return 1; }

const RAND_METHOD kMethod{.seed = nullptr,
                          .bytes = fill,
                          .cleanup = nullptr,
                          .add = nullptr,
                          .pseudorand = fill,
                          .status = is_seeded};

}  // namespace

SeededOpenssl::SeededOpenssl(uint64_t seed) {
  CHECK(!g_random);
  g_random.emplace(seed);
  CHECK(RAND_set_rand_method(&kMethod) == 1);
}

SeededOpenssl::~SeededOpenssl() {
  RAND_set_rand_method(nullptr);
  g_random.reset();
}

}  // namespace culvert::sim
