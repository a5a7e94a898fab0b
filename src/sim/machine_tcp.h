#pragma once
#include <deque>
#include <memory>

#include "net/tcp.h"
#include "sim/machine.h"

// Tests only: TCP between simulated machines.
namespace culvert::sim {

// One end of a connection, as the kernel of its machine has it. It lives on after its socket was closed,
// until what it sent has arrived.
class TcpEnd : public std::enable_shared_from_this<TcpEnd> {
 public:
  TcpEnd(Machine& machine, const SocketAddr& local, const SocketAddr& remote);
  ~TcpEnd();
  TcpEnd(const TcpEnd&) = delete;
  static void join(const std::shared_ptr<TcpEnd>& a, const std::shared_ptr<TcpEnd>& b);

  const SocketAddr& local() const { return local_; }
  const SocketAddr& remote() const { return remote_; }
  bool is_open() const { return is_open_; }
  bool peer_has_ended() const { return has_fin_ || error_ != 0; }
  int error() const { return error_; }

  net::IoResult read(MutableBytes into);
  net::IoResult write(std::span<const ByteView> from);
  net::IoResult finish();
  bool is_readable() const { return !is_open_ || !received_.empty() || has_fin_ || error_ != 0; }
  bool is_writable() const { return !is_open_ || error_ != 0 || unread_ < kWindow; }
  void close();
  void reset();
  // The machine ends the connection, with an RST for the peer.
  void kill();

  // Called when is_readable() or is_writable() may have become true. Empty: there is no observer.
  void set_on_change(std::function<void()> on_change) { on_change_ = std::move(on_change); }

 private:
  struct Segment {
    Bytes data = {};
    bool fin = false;
    bool rst = false;
    TimePoint sent = {};
    TimePoint arrives = {};
  };
  // What may be sent and not read.
  static constexpr size_t kWindow = 64 * 1024;
  // Of a segment that was lost, and of the tries across a wire that is cut; after kGiveUp the connection is
  // dead.
  static constexpr Duration kRetransmit = std::chrono::milliseconds(200);
  static constexpr Duration kGiveUp = std::chrono::seconds(60);

  void send(Segment segment);
  void deliver();
  bool can_reach(const TcpEnd& peer) const;
  void take(Segment segment);
  void fail(int error);
  void changed();

  Machine& machine_;
  const SocketAddr local_;
  const SocketAddr remote_;
  std::shared_ptr<TcpEnd> peer_;  // until one of the two is over
  std::function<void()> on_change_;
  std::deque<Segment> wire_;  // what is on its way to the peer
  bool is_delivering_ = false;
  Bytes received_;
  size_t unread_ = 0;  // of what was sent to the peer
  bool is_open_ = true;
  bool has_fin_ = false;
  bool sent_fin_ = false;
  int error_ = 0;
};

// A listening socket.
class TcpPort {
 public:
  TcpPort(Machine& machine, net::EventLoop& loop, uint16_t port);
  ~TcpPort();
  TcpPort(const TcpPort&) = delete;

  void arrived(std::shared_ptr<TcpEnd> end);
  void close();

  Machine& machine;
  net::EventLoop& loop;
  const uint16_t port;
  bool is_open = true;
  std::deque<std::shared_ptr<TcpEnd>> waiting;
  net::Notify changed;
};

Result<std::unique_ptr<net::TcpListener>> open_listener(Machine& machine, net::EventLoop& loop,
                                                        const SocketAddr& address,
                                                        const net::ListenOptions& options);
std::unique_ptr<net::ConnectAttempt> begin_connection(Machine& machine, net::EventLoop& loop,
                                                      const SocketAddr& address,
                                                      std::shared_ptr<net::Notify> changed);

}  // namespace culvert::sim
