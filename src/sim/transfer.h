#pragma once
#include <memory>

#include "base/check.h"
#include "quic/connection.h"

// Tests only: what two peers do with a connection in the simulator.
namespace culvert::sim {

// A byte that depends on its place, so that a lost, doubled or swapped part shows.
inline uint8_t pattern(uint64_t offset) { return static_cast<uint8_t>(offset * 2654435761u >> 13); }

// Sends `size` patterned bytes and a FIN on one stream.
class Sender final : public quic::StreamObserver {
 public:
  Sender(std::shared_ptr<quic::Stream> stream, uint64_t size) : stream_(std::move(stream)), size_(size) {
    stream_->set_writer(this);
    pump();
  }
  ~Sender() override { stream_->set_writer(nullptr); }
  void on_readable() override {}
  void on_writable() override { pump(); }
  void on_closed() override {}
  uint64_t written() const { return written_; }
  quic::Stream& stream() { return *stream_; }

 private:
  void pump() {
    while (written_ < size_) {
      Bytes block(std::min<uint64_t>(16 * 1024, size_ - written_));
      for (size_t i = 0; i < block.size(); ++i) block[i] = pattern(written_ + i);
      size_t taken = stream_->write(block);
      written_ += taken;
      if (taken < block.size()) return;
    }
    stream_->finish();
  }

  std::shared_ptr<quic::Stream> stream_;
  uint64_t size_;
  uint64_t written_ = 0;
};

// Reads a stream to its end and checks the pattern. Pausing stops reading, as a slow application would.
class Receiver final : public quic::StreamObserver {
 public:
  explicit Receiver(std::shared_ptr<quic::Stream> stream, bool paused = false)
      : stream_(std::move(stream)), paused_(paused) {
    stream_->set_reader(this);
    on_readable();
  }
  ~Receiver() override { stream_->set_reader(nullptr); }
  void on_readable() override {
    if (paused_) return;
    while (!stream_->readable().empty()) {
      const ByteView data = stream_->readable();
      for (size_t i = 0; i < data.size(); ++i) intact_ &= data[i] == pattern(received_ + i);
      received_ += data.size();
      stream_->consume(data.size());
    }
    finished_ = stream_->finished();
  }
  void on_writable() override {}
  void on_closed() override {}
  void pause() { paused_ = true; }
  void resume() {
    paused_ = false;
    on_readable();
  }
  quic::Stream& stream() { return *stream_; }
  uint64_t received() const { return received_; }
  uint64_t waiting() const { return stream_->buffered(); }
  bool finished() const { return finished_; }
  bool intact() const { return intact_; }

 private:
  std::shared_ptr<quic::Stream> stream_;
  bool paused_;
  uint64_t received_ = 0;
  bool intact_ = true;
  bool finished_ = false;
};

// Takes the peer's streams: receives each; answers bidirectional ones with as many patterned bytes as
// `answer`.
class Peer final : public quic::ConnectionObserver {
 public:
  explicit Peer(std::shared_ptr<quic::Connection> connection) : connection_(std::move(connection)) {
    connection_->set_observer(this);
  }
  ~Peer() override { connection_->set_observer(nullptr); }

  void on_connected() override { connected_ = true; }
  void on_streams() override {
    if (!accepting) return;
    while (auto stream = connection_->accept_bidi()) {
      receivers.push_back(std::make_unique<Receiver>(stream, paused));
      if (answer > 0) senders.push_back(std::make_unique<Sender>(stream, answer));
    }
    while (auto stream = connection_->accept_uni())
      receivers.push_back(std::make_unique<Receiver>(stream, paused));
  }
  void on_datagrams() override {
    while (auto datagram = connection_->datagrams().receive()) datagrams.push_back(std::move(*datagram));
  }
  void on_silence(quic::Silence silence) override { silences.push_back(silence); }
  void on_closed(const quic::CloseReason& reason) override { closed = reason; }

  bool connected() const { return connected_ || connection_->state() == quic::Connection::State::kOpen; }
  quic::Connection& connection() { return *connection_; }
  Sender& send(uint64_t size) {
    auto stream = connection_->open_bidi();
    CHECK(stream != nullptr);
    receivers.push_back(std::make_unique<Receiver>(stream));
    senders.push_back(std::make_unique<Sender>(stream, size));
    return *senders.back();
  }

  uint64_t answer = 0;
  bool paused = false;
  bool accepting = true;
  std::vector<std::unique_ptr<Receiver>> receivers;
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<Bytes> datagrams;
  std::vector<quic::Silence> silences;  // as they were told
  std::optional<quic::CloseReason> closed;

 private:
  std::shared_ptr<quic::Connection> connection_;
  bool connected_ = false;
};

}  // namespace culvert::sim
