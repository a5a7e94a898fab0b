#include "dns/server.h"

#include <algorithm>
#include <list>

#include "base/log.h"
#include "base/text.h"
#include "dns/source_rates.h"
#include "dns/stream_framing.h"
#include "net/packet_io.h"
#include "net/tcp.h"

namespace culvert::dns {
namespace {

using Transport = Authority::Transport;

// Before the next try to accept: an error that stays must not keep the loop busy.
constexpr Duration kAcceptPause = std::chrono::seconds(1);
// Of answers to pipelined queries, before they are written.
constexpr size_t kMaxPending = 16 * 1024;
// For a port that is free for UDP and TCP.
constexpr int kPortTries = 16;

class ServerImpl final : public Server {
 public:
  ServerImpl(net::EventLoop& loop, std::unique_ptr<net::TcpListener> listener,
             std::unique_ptr<net::PacketIo> socket, Authority& authority, const ServerOptions& options)
      : loop_(loop),
        listener_(std::move(listener)),
        socket_(std::move(socket)),
        authority_(authority),
        options_(options),
        rates_(loop.random(), options.source_burst, options.source_interval),
        closed_(loop),
        tasks_(loop) {
    socket_->start([this](const net::ReceivedDatagram& datagram) { on_datagram(datagram); }, [] {});
    tasks_.spawn(accept());
  }
  ~ServerImpl() override { close(); }

  SocketAddr local_addr() const override { return address_; }
  const ServerCounters& counters() const override { return counters_; }
  net::Task<> stop() override {
    close();
    co_await tasks_.join();
  }

 private:
  // One TCP connection, as long as its task runs.
  struct Connection {
    Connection(ServerImpl& its_server, net::ByteStream& its_stream)
        : server(its_server),
          stream(its_stream),
          source(stream.remote_addr().source_prefix()),
          place(server.connections_.insert(server.connections_.end(), this)) {
      ++server.counters_.connections;
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() {
      --server.counters_.connections;
      server.connections_.erase(place);
    }

    ServerImpl& server;
    net::ByteStream& stream;
    const std::string source;
    FrameReader reader{kMaxQuerySize};
    std::list<Connection*>::iterator place;
  };

  void close();
  void on_datagram(const net::ReceivedDatagram& datagram);
  std::optional<Bytes> answer_datagram(const net::ReceivedDatagram& datagram);
  net::Task<> accept();
  bool admit(const net::ByteStream& stream);
  net::Task<> serve(std::unique_ptr<net::ByteStream> stream);
  // False: the connection ends.
  net::Task<bool> answer_queries(Connection& connection, TimePoint& last_query);

  net::EventLoop& loop_;
  std::unique_ptr<net::TcpListener> listener_;
  std::unique_ptr<net::PacketIo> socket_;
  const SocketAddr address_ = listener_->local_addr();
  Authority& authority_;
  const ServerOptions options_;
  SourceRates rates_;
  uint64_t limited_ = 0;
  ServerCounters counters_;
  std::list<Connection*> connections_;  // the oldest first
  bool closing_ = false;
  net::Notify closed_;
  net::TaskGroup tasks_;
};

void ServerImpl::close() {
  closing_ = true;
  listener_->close();
  socket_->close();
  closed_.notify();
  // A connection that is closed may end its task at once, which takes it off the list.
  const auto open = connections_;
  for (Connection* connection : open) connection->stream.close();
}

void ServerImpl::on_datagram(const net::ReceivedDatagram& datagram) {
  ++counters_.udp_queries;
  const auto response = answer_datagram(datagram);
  if (!response) return;
  const auto sent = socket_->send({.data = *response,
                                   .segment_size = response->size(),
                                   .remote = datagram.remote,
                                   .local = datagram.local});
  // Resolvers ask again; what is kept for them here would only grow.
  if (sent != net::PacketIo::SendStatus::kSent) ++counters_.dropped_blocked;
}

std::optional<Bytes> ServerImpl::answer_datagram(const net::ReceivedDatagram& datagram) {
  if (datagram.data.size() > kMaxQuerySize || datagram.remote.port() == 0) {
    ++counters_.dropped_size;
    return std::nullopt;
  }
  if (rates_.allow(datagram.remote, loop_.now())) {
    auto response = authority_.answer(datagram.data, Transport::kUdp);
    if (response && decode_header(*response)->is_truncated) ++counters_.truncated;
    return response;
  }
  auto response = ++limited_ % 2 == 0 ? Authority::truncated(datagram.data) : std::nullopt;
  ++(response ? counters_.limited_truncated : counters_.limited_dropped);
  return response;
}

net::Task<> ServerImpl::accept() {
  while (!closing_) {
    auto accepted = co_await listener_->accept();
    if (!accepted) {
      if (closing_) co_return;
      log_error("dns_accept_failed", "listen={} reason={}", address_.to_string(),
                quoted(accepted.error().message));
      co_await closed_.wait_until(loop_.now() + kAcceptPause);
      continue;
    }
    std::unique_ptr<net::ByteStream> stream = std::move(*accepted);
    ++counters_.accepted;
    if (admit(*stream)) {
      tasks_.spawn(serve(std::move(stream)));
    } else {
      stream->reset();
    }
  }
}

bool ServerImpl::admit(const net::ByteStream& stream) {
  const std::string source = stream.remote_addr().source_prefix();
  const auto of_source = std::ranges::count(connections_, source, &Connection::source);
  if (static_cast<size_t>(of_source) >= options_.max_source_connections) {
    ++counters_.refused_source_full;
    return false;
  }
  const auto is_open = [](const Connection* connection) { return connection->stream.is_open(); };
  const auto open = std::ranges::count_if(connections_, is_open);
  if (static_cast<size_t>(open) >= options_.max_connections) {
    ++counters_.evicted;
    (*std::ranges::find_if(connections_, is_open))->stream.reset();
  }
  return true;
}

net::Task<> ServerImpl::serve(std::unique_ptr<net::ByteStream> stream) {
  Connection connection(*this, *stream);
  const TimePoint end = loop_.now() + options_.connection_time;
  TimePoint last_query = loop_.now();
  Bytes chunk(kMaxQuerySize);
  while (!closing_) {
    auto got = co_await net::read_some(*stream, chunk, std::min(end, last_query + options_.idle_time));
    if (!got || *got == 0) {
      // One that rests between queries ends in an orderly way.
      const bool is_late = !got && got.error().code == ErrorCode::kTimeout;
      if (is_late && !connection.reader.is_empty()) ++counters_.cut_timeout;
      break;
    }
    connection.reader.feed(ByteView(chunk).first(*got));
    const bool goes_on = co_await answer_queries(connection, last_query);
    if (!goes_on) break;
  }
  stream->close();
}

net::Task<bool> ServerImpl::answer_queries(Connection& connection, TimePoint& last_query) {
  bool is_readable = true;
  while (is_readable) {
    Bytes pending;
    while (pending.size() < kMaxPending) {
      auto query = connection.reader.next();
      if (!query) {
        ++counters_.cut_malformed;
        co_return false;
      }
      is_readable = query->has_value();
      if (!is_readable) break;
      ++counters_.tcp_queries;
      last_query = loop_.now();
      if (const auto response = authority_.answer(**query, Transport::kTcp))
        append_framed(*response, pending);
    }
    if (pending.empty()) continue;
    auto written = co_await net::write_all(connection.stream, pending, loop_.now() + options_.idle_time);
    if (!written) {
      if (written.error().code == ErrorCode::kTimeout) ++counters_.cut_timeout;
      co_return false;
    }
  }
  co_return !closing_;
}

Error explain(const Error& error, const SocketAddr& address) {
  const std::string where = address.to_string();
  switch (error.code) {
    case ErrorCode::kConflict:
      return {
          error.code,
          fmt::format(
              "cannot serve DNS on {}: another program uses the port; `ss -lntup 'sport = :{}'` names it. "
              "If it is systemd-resolved or another stub resolver, listen on the public address of this "
              "machine instead of on every address; another DNS server has to be stopped or moved",
              where, address.port())};
    case ErrorCode::kUnauthorized:
      return {error.code,
              fmt::format(
                  "cannot serve DNS on {}: this user may not use the port, and resolvers ask port 53 only; "
                  "allow it with `setcap cap_net_bind_service=+ep <program>` or "
                  "AmbientCapabilities=CAP_NET_BIND_SERVICE of systemd, or let the firewall forward port 53 "
                  "to a port above 1023",
                  where)};
    default:
      return {error.code, fmt::format("cannot serve DNS: {}", error.message)};
  }
}

struct Sockets {
  std::unique_ptr<net::TcpListener> tcp;
  std::unique_ptr<net::PacketIo> udp;
};

Result<Sockets> bind_both(net::EventLoop& loop, const SocketAddr& address) {
  auto tcp = net::TcpListener::listen(loop, address, {});
  if (!tcp) return std::unexpected(tcp.error());
  auto udp = net::bind_udp(loop, address.with_port((*tcp)->local_addr().port()), {});
  if (!udp) return std::unexpected(udp.error());
  return Sockets{std::move(*tcp), std::move(*udp)};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(net::EventLoop& loop, const SocketAddr& address,
                                               Authority& authority, const ServerOptions& options) {
  auto sockets = bind_both(loop, address);
  for (int i = 1; i < kPortTries && address.port() == 0 && !sockets; ++i) sockets = bind_both(loop, address);
  if (!sockets) return std::unexpected(explain(sockets.error(), address));
  return std::make_unique<ServerImpl>(loop, std::move(sockets->tcp), std::move(sockets->udp), authority,
                                      options);
}

}  // namespace culvert::dns
