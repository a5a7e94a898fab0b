#include "quic/config.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

TEST(EndpointLimits, AreFractionsOfTheMachineOverAllWorkers) {
  for (unsigned workers : {1u, 2u, 16u}) {
    const EndpointLimits limits = EndpointLimits::for_machine(4096 * kMiB, workers);
    EXPECT_EQ(limits.max_receive_memory * workers, 512 * kMiB);
    EXPECT_EQ(limits.max_send_memory * workers, 256 * kMiB);
  }
}

TEST(EndpointLimits, ASmallMachineHasMostOfItsMemoryLeft) {
  const EndpointLimits limits = EndpointLimits::for_machine(512 * kMiB, 1);
  EXPECT_EQ(limits.max_receive_memory, 64 * kMiB);
  EXPECT_EQ(limits.max_send_memory, 32 * kMiB);
}

TEST(EndpointLimits, HaveFloorsAndCeilings) {
  EXPECT_EQ(EndpointLimits::for_machine(0, 1).max_receive_memory, 32 * kMiB);
  EXPECT_EQ(EndpointLimits::for_machine(0, 1).max_send_memory, 16 * kMiB);
  EXPECT_EQ(EndpointLimits::for_machine(uint64_t{1} << 50, 1).max_receive_memory, 1024 * kMiB);
  EXPECT_EQ(EndpointLimits::for_machine(uint64_t{1} << 50, 1).max_send_memory, 512 * kMiB);
}

}  // namespace
}  // namespace culvert::quic
