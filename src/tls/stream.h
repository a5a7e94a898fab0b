#pragma once
#include "net/byte_stream.h"
#include "tls/openssl.h"

namespace culvert::tls {

// A TLS connection over another stream, from the first byte of its handshake. Inside tls/ only.
//
// OpenSSL reads and writes the socket itself, through a BIO that first serves bytes read earlier. Towards
// OpenSSL the BIO always takes what is written: what the socket refuses is kept and sent when it can be.
// Otherwise a KeyUpdate that arrives while a write is blocked kills the connection (OpenSSL 3.0 answers it at
// once and trips over the pending record), and reads would have to wait for writability.
class Stream final : public net::ByteStream {
 public:
  Stream(std::unique_ptr<net::ByteStream> transport, Bytes received, SSL_CTX* context);

  SSL* ssl() { return ssl_.get(); }
  // SSL_set_accept_state or _connect_state first. kOk, kError, or kWantRead: wait on transport().
  net::IoStatus try_handshake();
  net::ByteStream& transport() { return *transport_; }
  // After kError: whether the connection broke, instead of the peer misbehaving.
  bool transport_failed() const { return transport_failed_; }
  // After kError: whether the peer answered that it knows no such server name.
  bool name_refused() const { return name_refused_; }

  net::IoResult try_read(MutableBytes into) override;
  using net::ByteStream::try_write;
  net::IoResult try_write(std::span<const ByteView> from) override;
  net::IoResult try_finish() override;
  void when_readable(net::ReadyCallback callback) override;
  void when_writable(net::ReadyCallback callback) override;
  void soon_readable(net::ReadyCallback callback) override { transport_->soon_readable(std::move(callback)); }
  void cancel() override;
  void leave_loop() override;
  void join_loop(net::EventLoop& loop) override;
  void close() override { transport_->close(); }
  void reset() override { transport_->reset(); }
  bool is_open() const override { return transport_->is_open(); }
  bool peer_has_ended() const override { return transport_->peer_has_ended(); }
  SocketAddr local_addr() const override { return transport_->local_addr(); }
  SocketAddr remote_addr() const override { return transport_->remote_addr(); }
  std::string peer_text() const override { return transport_->peer_text(); }
  std::string last_error() const override { return error_.empty() ? transport_->last_error() : error_; }
  net::EventLoop& loop() override { return transport_->loop(); }

 private:
  static int bio_read(BIO* bio, char* into, size_t size, size_t* count);
  static int bio_write(BIO* bio, const char* from, size_t size, size_t* count);
  static long bio_control(BIO* bio, int command, long, void*);
  static const BIO_METHOD* bio_method();

  net::IoStatus explain(int result);
  size_t write_record(ByteView record);
  net::IoStatus flush();
  void flush_later();
  void watch_writable();

  std::unique_ptr<net::ByteStream> transport_;
  Bytes received_;
  size_t received_served_ = 0;
  SslPtr ssl_;
  std::string error_;
  Bytes unsent_;  // sealed records, at most kMaxUnsent
  size_t unsent_sent_ = 0;
  net::ReadyCallback writable_;
  bool watching_writable_ = false;
  net::IoStatus read_end_ =
      net::IoStatus::kOk;      // kEof or kError, found behind bytes that were handed out first
  bool read_starved_ = false;  // OpenSSL has seen all there is and wants more
  bool transport_eof_ = false;
  bool transport_failed_ = false;
  bool overrun_ = false;
  bool name_refused_ = false;
  bool broken_ = false;
  bool finished_ = false;
};

}  // namespace culvert::tls
