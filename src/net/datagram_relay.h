#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "base/result.h"
#include "net/datagram.h"

// How QUIC datagrams reach the connections of a process whose socket another process reads now. Inside net/
// only.
namespace culvert::net {

// Of the process that chose the destination connection id (quic::Engine::Config::generation): byte 2 behind a
// short header, byte 7 behind a long one with an id of eight bytes (RFC 9000, 17.2 and 17.3). nullopt: it is
// the first id of a client, which no process has chosen, or no QUIC.
std::optional<uint8_t> generation_of(ByteView datagram);

// Datagrams of one size (the last may be shorter) that came from one remote address to one local one, as one
// message between processes.
struct RelayedBatch {
  ByteView data;
  size_t segment_size = 0;
  SocketAddr remote;
  SocketAddr local;
  uint8_t ecn = 0;
};
inline constexpr size_t kMaxRelayedData = 60'000;
inline constexpr size_t kMaxRelayedHeader = 2 * (1 + 16 + 2) + 1 + 2;

// `data` is not copied.
Bytes encode_relay_header(const RelayedBatch& batch);
// `data` of the result points into the message. kInvalid: no message of ours.
Result<RelayedBatch> decode_relayed(ByteView message);
void for_each_datagram(const RelayedBatch& batch, const std::function<void(const ReceivedDatagram&)>& each);

struct RelayCounters {
  std::atomic<uint64_t> relayed{0};  // datagrams
  std::atomic<uint64_t> dropped{0};  // the other process did not read fast enough
};

// The way to one such process. On the thread of the socket that it belongs to, but for what says otherwise.
class DatagramRelay {
 public:
  // `socket`: one end of a SOCK_SEQPACKET pair. The counters outlive it.
  DatagramRelay(uint8_t generation, Descriptor socket, RelayCounters& counters)
      : generation_(generation), socket_(std::move(socket)), counters_(counters) {}
  DatagramRelay(const DatagramRelay&) = delete;

  uint8_t generation() const { return generation_; }
  int fd() const { return socket_.get(); }          // from any thread
  bool is_lost() const { return is_lost_.load(); }  // from any thread: the process has ended
  void push(const ReceivedDatagram& datagram);
  // At the end of a turn: sends what was gathered.
  void flush();

 private:
  const uint8_t generation_;
  const Descriptor socket_;
  RelayCounters& counters_;
  std::atomic<bool> is_lost_ = false;
  Bytes gathered_;
  RelayedBatch batch_;
  uint64_t datagrams_ = 0;  // in gathered_
  bool is_full_ = false;    // a shorter datagram has ended the batch
};

}  // namespace culvert::net
