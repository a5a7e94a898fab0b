#pragma once
#include <functional>
#include <list>

#include "dns/message.h"
#include "dns/stream_framing.h"
#include "net/packet_io.h"
#include "net/testing.h"

// For tests: a name server that answers what a test says, on the loop of its client.
namespace culvert::dns::testing {

class FakeServer {
 public:
  // The answer to a query's bytes; nullopt: silence.
  using Handler = std::function<std::optional<Bytes>(ByteView query, bool over_tcp)>;

  FakeServer(net::EventLoop& loop, Handler handler, std::string_view where = "127.0.0.1:0")
      : loop_(loop), handler_(std::move(handler)), tasks_(loop) {
    for (int i = 0; i < 16 && !udp_; ++i) {
      tcp_ = net::TcpListener::listen(loop, net::testing::addr(where), {}).value();
      if (auto bound = net::bind_udp(loop, tcp_->local_addr(), {})) udp_ = std::move(*bound);
    }
    udp_->start(
        [this](const net::ReceivedDatagram& datagram) {
          ++over_udp_;
          const auto answer = handler_(datagram.data, false);
          if (!answer) return;
          (void)udp_->send({.data = *answer,
                            .segment_size = answer->size(),
                            .remote = datagram.remote,
                            .local = datagram.local});
        },
        [] {});
    tasks_.spawn(accept());
  }
  ~FakeServer() {
    tcp_->close();
    udp_->close();
    for (net::ByteStream* stream : streams_) stream->close();
    net::testing::run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  SocketAddr address() const { return tcp_->local_addr(); }
  int over_udp() const { return over_udp_; }
  int over_tcp() const { return over_tcp_; }

 private:
  net::Task<> accept() {
    while (true) {
      auto accepted = co_await tcp_->accept();
      if (!accepted) co_return;
      tasks_.spawn(serve(std::move(*accepted)));
    }
  }
  net::Task<> serve(std::unique_ptr<net::ByteStream> stream) {
    const auto place = streams_.insert(streams_.end(), stream.get());
    FrameReader reader(kMaxMessageSize);
    Bytes chunk(4096);
    while (true) {
      auto got = co_await net::read_some(*stream, chunk, net::testing::soon());
      if (!got || *got == 0) break;
      reader.feed(ByteView(chunk).first(*got));
      auto query = reader.next();
      if (!query || !*query) continue;
      ++over_tcp_;
      const auto answer = handler_(**query, true);
      if (!answer) break;
      Bytes framed;
      append_framed(*answer, framed);
      auto written = co_await net::write_all(*stream, framed, net::testing::soon());
      if (!written) break;
    }
    streams_.erase(place);
  }

  net::EventLoop& loop_;
  const Handler handler_;
  std::unique_ptr<net::TcpListener> tcp_;
  std::unique_ptr<net::PacketIo> udp_;
  std::list<net::ByteStream*> streams_;
  int over_udp_ = 0, over_tcp_ = 0;
  net::TaskGroup tasks_;
};

// An answer to a query, to be filled.
inline Message answer_to(const Message& query) {
  Message answer = query;
  answer.header.is_response = true;
  answer.header.is_authoritative = true;
  answer.authority.clear();
  answer.edns.reset();
  answer.tsig.reset();
  return answer;
}

}  // namespace culvert::dns::testing
