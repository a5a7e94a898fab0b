#include "net/datagram_relay.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <array>

#include "net/testing.h"

namespace culvert::net {
namespace {

using testing::addr;

struct Pair {
  Pair() {
    std::array<int, 2> ends;
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    reading.reset(ends[0]);
    writing.reset(ends[1]);
  }
  // The next message, empty at the end or when there is none.
  Bytes next() const {
    Bytes data(70'000);
    const ssize_t got = ::recv(reading.get(), data.data(), data.size(), 0);
    data.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return data;
  }
  Descriptor reading, writing;
};

const SocketAddr kClient = addr("192.0.2.7:4711");
const SocketAddr kUs = addr("[2001:db8::1]:443");

ReceivedDatagram datagram(std::string_view data, const SocketAddr& remote = kClient, uint8_t ecn = 2) {
  return {.data = as_bytes(data), .remote = remote, .local = kUs, .ecn = ecn};
}

std::vector<std::string> texts(const RelayedBatch& batch) {
  std::vector<std::string> out;
  for_each_datagram(batch, [&](const ReceivedDatagram& each) {
    EXPECT_EQ(each.remote, batch.remote);
    EXPECT_EQ(each.local, batch.local);
    out.emplace_back(as_text(each.data));
  });
  return out;
}

TEST(DatagramRelay, TheGenerationIsTheSecondByteOfOurIds) {
  const Bytes short_header{0x40, 1, 7, 0, 0, 0, 0, 0, 0, 9};
  EXPECT_EQ(generation_of(short_header), 7);
  EXPECT_EQ(generation_of(ByteView(short_header).first(8)), std::nullopt) << "shorter than an id";
  const Bytes long_header{0xc0, 0, 0, 0, 1, 8, 1, 200, 0, 0, 0, 0, 0, 0, 9};
  EXPECT_EQ(generation_of(long_header), 200);
  Bytes first_packet = long_header;
  first_packet[5] = 20;
  first_packet.resize(40);
  EXPECT_EQ(generation_of(first_packet), std::nullopt) << "the id is the client's own";
  EXPECT_EQ(generation_of({}), std::nullopt);
  EXPECT_EQ(generation_of(Bytes{0xc0}), std::nullopt);
}

TEST(DatagramRelay, DatagramsOfOnePathShareAMessage) {
  RelayCounters counters;
  Pair pair;
  DatagramRelay relay(3, std::move(pair.writing), counters);
  for (const char* text : {"aaaa", "bbbb", "cc"}) relay.push(datagram(text));
  relay.push(datagram("dddd"));                        // a shorter one has ended the batch
  relay.push(datagram("eeeee"));                       // longer than the first
  relay.push(datagram("fffff", addr("192.0.2.8:1")));  // from elsewhere
  relay.push(datagram("ggggg", addr("192.0.2.8:1"), 0));
  relay.flush();
  const std::vector<std::vector<std::string>> expected{
      {"aaaa", "bbbb", "cc"}, {"dddd"}, {"eeeee"}, {"fffff"}, {"ggggg"}};
  for (const auto& each : expected) {
    const Bytes message = pair.next();
    const auto batch = decode_relayed(message);
    ASSERT_TRUE(batch) << batch.error().message;
    EXPECT_EQ(texts(*batch), each);
  }
  EXPECT_TRUE(pair.next().empty());
  EXPECT_EQ(counters.relayed, 7u);
  EXPECT_EQ(counters.dropped, 0u);
}

TEST(DatagramRelay, ASlowReaderLosesDatagramsAndADeadOneIsKnown) {
  RelayCounters counters;
  Pair pair;
  DatagramRelay relay(3, std::move(pair.writing), counters);
  const std::string large(1200, 'x');
  for (int i = 0; i < 2000; ++i) {
    relay.push(datagram(large));
    relay.flush();
  }
  EXPECT_GT(counters.relayed, 10u);
  EXPECT_EQ(counters.relayed + counters.dropped, 2000u);
  EXPECT_FALSE(relay.is_lost());
  pair.reading.reset();
  relay.push(datagram(large));
  relay.flush();
  EXPECT_TRUE(relay.is_lost());
}

TEST(DatagramRelay, NoMessageOfOthersIsTaken) {
  const Bytes data = to_bytes(as_bytes("payload"));
  const RelayedBatch batch{data, 4, kClient, kUs, 1};
  Bytes good = encode_relay_header(batch);
  EXPECT_LE(good.size(), kMaxRelayedHeader);
  const size_t header = good.size();
  good.insert(good.end(), data.begin(), data.end());
  ASSERT_TRUE(decode_relayed(good));
  for (size_t size = 0; size <= header; ++size)
    EXPECT_FALSE(decode_relayed(ByteView(good).first(size))) << size;
  Bytes bad = good;
  bad[0] = 5;  // of an address
  EXPECT_FALSE(decode_relayed(bad));
  bad = good;
  bad[header - 3] = 4;  // ECN
  EXPECT_FALSE(decode_relayed(bad));
  bad = good;
  bad[header - 2] = bad[header - 1] = 0;  // size
  EXPECT_FALSE(decode_relayed(bad));
}

}  // namespace
}  // namespace culvert::net
