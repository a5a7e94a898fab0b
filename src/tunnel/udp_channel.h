#pragma once
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "endpoint/endpoint.h"
#include "tunnel/udp_frame.h"

namespace culvert::tunnel {

class UdpChannels;

// What one UDP port's datagrams go through in one tunnel: a stream, and the QUIC datagrams that name it. A
// datagram that fits goes as one of these, a longer one in the stream. Nothing waits: what cannot leave is
// dropped, and what is lost delays nothing. Lives on its connection's loop.
class UdpChannel final : private quic::StreamObserver {
 public:
  // Who has the channel. Called from the loop, never from inside a call on the channel.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_datagram(const UdpDatagram& datagram) = 0;
    virtual void on_forgotten(uint64_t flow) = 0;
    // After the datagrams that came together.
    virtual void on_batch_end() = 0;
    // The peer or the connection ended it, or the peer sent what is malformed. It may be destroyed here.
    virtual void on_ended() = 0;
  };
  enum class Sent : uint8_t {
    kAsDatagram,
    kInStream,
    kQueueFull,      // congestion: as many wait as may
    kStreamStalled,  // an earlier one still waits for the peer
  };

  enum class Side : uint8_t { kEdge, kAgent };

  // On an edge after the header was written. `channels` and the owner outlive it.
  UdpChannel(UdpChannels& channels, endpoint::StreamPtr stream, Side side, Owner& owner);
  ~UdpChannel() override;
  UdpChannel(const UdpChannel&) = delete;

  // RFC 9297, 2.1: the quarter stream id.
  uint64_t id() const { return stream_->id() / 4; }
  // On an agent, once: `begun` is what came behind the header already.
  void start(ByteView begun);
  Sent send(const UdpDatagram& datagram);
  // Dropped where the stream is stalled.
  void send_forgotten(uint64_t flow);
  // Ends it for the peer.
  void reset(endpoint::AppCode code);

 private:
  friend class UdpChannels;
  void on_readable() override;
  void on_writable() override;
  void on_closed() override { end(); }
  bool write(const UdpFrame& frame);
  bool read(ByteView bytes);
  void end();

  UdpChannels& channels_;
  endpoint::StreamPtr stream_;
  Owner& owner_;
  UdpFrameReader reader_;
  Bytes rest_;     // of a frame of which the stream took a part
  bool is_ready_;  // the other side knows the channel. Until it does everything goes in the stream
  bool is_ended_ = false;
};

// The UDP channels of one tunnel, by their ids.
class UdpChannels {
 public:
  // Of the connection's datagrams: that they are malformed, or of a channel that is not there (any more).
  using OnDropped = std::function<void()>;
  explicit UdpChannels(endpoint::ConnectionPtr connection, OnDropped on_dropped);
  ~UdpChannels();
  UdpChannels(const UdpChannels&) = delete;

 private:
  friend class UdpChannel;
  void receive();

  endpoint::ConnectionPtr connection_;
  OnDropped on_dropped_;
  std::unordered_map<uint64_t, UdpChannel*> channels_;
  std::vector<uint64_t> touched_;  // in this batch
  Bytes scratch_;                  // what is being sent
};

}  // namespace culvert::tunnel
