#include "ops/server.h"

#include <unordered_set>

#include "base/log.h"
#include "base/rate_limit.h"
#include "http/message.h"
#include "http/parser.h"
#include "net/tcp.h"

namespace culvert::ops {
namespace {

http::Response text_response(int status, std::string body,
                             std::string_view type = "text/plain; charset=utf-8") {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", std::string(type));
  response.headers.add("Cache-Control", "no-store");
  return response;
}

http::Response verdict(const Faults& faults) {
  if (faults.empty()) return text_response(200, "ok\n");
  std::string body;
  for (const std::string& fault : faults) body += fault + "\n";
  return text_response(503, std::move(body));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(net::EventLoop& loop, std::unique_ptr<net::TcpListener> listener, Sources sources)
      : loop_(loop), listener_(std::move(listener)), sources_(std::move(sources)), tasks_(loop) {
    tasks_.spawn(accept());
  }
  ~ServerImpl() override { close(); }

  SocketAddr local_addr() const override { return address_; }
  net::Task<> stop() override {
    close();
    co_await tasks_.join();
  }

 private:
  void close() {
    closing_ = true;
    listener_->close();
    // Closing wakes each connection's task, which takes itself off the set.
    const auto open = open_;
    for (net::ByteStream* stream : open) stream->close();
  }

  net::Task<> accept() {
    while (true) {
      auto fd = co_await listener_->accept();
      if (!fd) co_return;
      auto stream = net::make_tcp_stream(loop_, *fd);
      if (open_.size() >= kMaxConnections) {
        ++refused_;
        if (full_lines_.allow(loop_.now()))
          log_warn("metrics_connections_full", "cap={} refused={}", kMaxConnections, refused_);
        stream->reset();
        continue;
      }
      tasks_.spawn(serve(std::move(stream)));
    }
  }

  net::Task<> serve(std::unique_ptr<net::ByteStream> stream) {
    open_.insert(stream.get());
    co_await serve_requests(*stream);
    stream->close();
    open_.erase(stream.get());
  }

  net::Task<> serve_requests(net::ByteStream& stream) {
    net::Reader reader(stream);
    http::RequestParser parser;
    while (!closing_) {
      auto request = co_await http::read_request(reader, parser, loop_.now() + kRequestTime, kRequestTime);
      if (!request || !*request || closing_) co_return;
      const bool keep_alive = (*request)->keep_alive;
      http::Response response = co_await answer(**request);
      if (closing_) co_return;
      auto written =
          co_await http::write_response(stream, std::move(response), keep_alive, loop_.now() + kRequestTime);
      if (!written || !keep_alive) co_return;
    }
  }

  net::Task<http::Response> answer(const http::Request& request) {
    const std::string path = request.target.substr(0, request.target.find('?'));
    if (path != "/metrics" && path != "/healthz" && path != "/readyz") {
      co_return text_response(404, "not found; there are /metrics, /healthz and /readyz\n");
    }
    if (request.method != "GET") {
      auto response = text_response(405, "only GET is allowed\n");
      response.headers.add("Allow", "GET");
      co_return response;
    }
    if (path == "/healthz") co_return verdict(co_await sources_.health());
    if (path == "/readyz") co_return verdict(co_await sources_.readiness());
    const Metrics metrics = co_await sources_.metrics();
    co_return text_response(200, metrics.to_text(), "text/plain; version=0.0.4; charset=utf-8");
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::TcpListener> listener_;
  const SocketAddr address_ = listener_->local_addr();
  Sources sources_;
  std::unordered_set<net::ByteStream*> open_;
  RateLimit full_lines_{1, std::chrono::seconds(10)};
  uint64_t refused_ = 0;
  bool closing_ = false;
  net::TaskGroup tasks_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(net::EventLoop& loop, const SocketAddr& address,
                                               Sources sources) {
  auto listener = net::TcpListener::listen(loop, address, {});
  if (!listener) return std::unexpected(listener.error());
  return std::make_unique<ServerImpl>(loop, std::move(*listener), std::move(sources));
}

}  // namespace culvert::ops
