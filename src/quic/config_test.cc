#include "quic/config.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

TEST(Limits, TheStrictestOfTwoAllowsWhatBothAllow) {
  Limits streams;
  streams.max_streams_bidi = 4;
  streams.max_streams_uni = 100;
  Limits datagrams;
  datagrams.datagrams = false;
  datagrams.max_streams_uni = 3;
  datagrams.unadmitted_window = 1000;
  for (const Limits& limits : {strictest(streams, datagrams), strictest(datagrams, streams)}) {
    EXPECT_EQ(limits.max_streams_bidi, 4u);
    EXPECT_EQ(limits.max_streams_uni, 3u);
    EXPECT_FALSE(limits.datagrams);
    EXPECT_EQ(limits.unadmitted_window, 1000u) << "0 is no limit";
    EXPECT_EQ(limits.max_stream_window, Limits().max_stream_window);
  }
}

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
