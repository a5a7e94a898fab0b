#pragma once
#include <functional>
#include <memory>

#include "net/event_loop.h"
#include "net/packet_io.h"
#include "quic/engine.h"

namespace culvert::quic {

// Runs an Engine on the datagrams of one event loop.
class Driver final : private EngineHost {
 public:
  using OnAccepted = std::function<void(std::shared_ptr<Connection>)>;

  // `packets` are not started yet.
  Driver(net::EventLoop& loop, std::unique_ptr<net::PacketIo> packets, Engine::Config config,
         OnAccepted on_accepted);
  ~Driver() override;

  SocketAddr local_addr() const { return packets_->local_addr(); }
  std::shared_ptr<Connection> connect(const SocketAddr& remote, const EndpointId& peer,
                                      const std::string& alpn);
  std::shared_ptr<Connection> connect(const SocketAddr& remote, const X509Server& server,
                                      const std::string& alpn);
  // As net::PacketIo::rebind; client connections move along.
  Result<> rebind();
  // Tells every peer, then closes the way of the datagrams.
  void close(AppCode code, const std::string& reason);
  const Engine& engine() const { return engine_; }

 private:
  void flush();
  void arm_timer();
  void on_timer();

  bool send(const net::DatagramBatch& batch) override;
  void on_accepted(std::shared_ptr<Connection> connection) override { on_accepted_(std::move(connection)); }
  void want_flush() override;

  net::EventLoop& loop_;
  std::unique_ptr<net::PacketIo> packets_;
  net::Timer timer_;
  TimePoint armed_ = TimePoint::max();
  OnAccepted on_accepted_;
  bool flush_wanted_ = false;
  bool in_batch_ = false;  // datagrams were received that flush() has not handled
  TimePoint batch_time_;
  bool waiting_writable_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for work posted before the end
  Engine engine_;
};

}  // namespace culvert::quic
