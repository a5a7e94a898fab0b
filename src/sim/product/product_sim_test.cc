#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/log.h"
#include "sim/product/seeded_openssl.h"
#include "sim/product/world.h"

namespace culvert::sim {
namespace {

// CULVERT_SIM_SEEDS: how many; CULVERT_SIM_SEED: only this one, with what happens on standard error.
uint64_t number_in(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Outcome {
  std::optional<std::string> fault;
  uint64_t digest;
};

Outcome run_world(uint64_t seed, std::optional<std::string> (World::*what)() = &World::run) {
  const SeededOpenssl openssl(seed);
  auto world = std::make_unique<World>(seed);
  Outcome outcome{.fault = (world.get()->*what)(), .digest = world->digest()};
  // What is wrong in a world may not let it end.
  static auto& unfinished = *new std::vector<std::unique_ptr<World>>();
  if (outcome.fault) unfinished.push_back(std::move(world));
  return outcome;
}

TEST(ProductSim, EveryAgentIsServedAgainAndNothingElseIs) {
  set_log_level(LogLevel::kError);
  const uint64_t only = number_in("CULVERT_SIM_SEED", 0);
  if (only != 0) set_log_level(LogLevel::kDebug);
  const uint64_t first = std::max<uint64_t>(only, 1);
  const uint64_t count = only != 0 ? 1 : number_in("CULVERT_SIM_SEEDS", 60);
  int failures = 0;
  for (uint64_t seed = first; seed < first + count && failures < 10; ++seed) {
    const Outcome done = run_world(seed);
    if (!done.fault) continue;
    ++failures;
    ADD_FAILURE() << *done.fault << "\nagain: CULVERT_SIM_SEED=" << seed
                  << " product_sim_test --gtest_filter=ProductSim.EveryAgentIsServedAgainAndNothingElseIs";
  }
}

TEST(ProductSim, AnAgentThatWasCutOffFindsTheNodeThatWasRestarted) {
  set_log_level(LogLevel::kError);
  for (uint64_t seed = 1; seed <= 5; ++seed)
    EXPECT_EQ(run_world(seed, &World::run_restart_during_an_outage).fault, std::nullopt) << "seed " << seed;
}

TEST(ProductSim, ARunFollowsFromItsSeed) {
  set_log_level(LogLevel::kError);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const Outcome first = run_world(seed);
    EXPECT_EQ(first.fault, std::nullopt);
    // More than once: what follows from addresses in memory is the same in most runs.
    for (int again = 0; again < 3; ++again)
      EXPECT_EQ(run_world(seed).digest, first.digest) << "seed " << seed;
  }
}

}  // namespace
}  // namespace culvert::sim
