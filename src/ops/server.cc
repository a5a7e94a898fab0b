#include "ops/server.h"

#include "base/log.h"
#include "base/rate_limit.h"
#include "http/router.h"
#include "http/server.h"
#include "net/tcp.h"

namespace culvert::ops {
namespace {

// Before the next try to accept: an error that stays must not keep the loop busy.
constexpr Duration kAcceptPause = std::chrono::seconds(1);

http::Response text_response(int status, std::string body,
                             std::string_view type = "text/plain; charset=utf-8") {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", std::string(type));
  response.headers.add("Cache-Control", "no-store");
  return response;
}

http::Response verdict(const Faults& faults, const Faults& degradation = {}) {
  std::string body;
  if (faults.empty()) {
    body = "ok\n";
    for (const std::string& fault : degradation) body += "degraded: " + fault + "\n";
    return text_response(200, std::move(body));
  }
  for (const std::string& fault : faults) body += fault + "\n";
  return text_response(503, std::move(body));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(net::EventLoop& loop, std::unique_ptr<net::TcpListener> listener, Sources sources)
      : loop_(loop),
        listener_(std::move(listener)),
        sources_(std::move(sources)),
        closed_(loop),
        tasks_(loop) {
    router_.add("GET", "/metrics", [this](http::Exchange& e) { return metrics(e); });
    router_.add("GET", "/healthz", [this](http::Exchange& e) { return health(e); });
    router_.add("GET", "/readyz", [this](http::Exchange& e) { return readiness(e); });
    if (sources_.status) router_.add("GET", "/status", [this](http::Exchange& e) { return status(e); });
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
    closed_.notify();
    server_.close();
  }

  net::Task<> accept() {
    while (!closing_) {
      auto accepted = co_await listener_->accept();
      if (!accepted) {
        if (closing_) co_return;
        log_error("metrics_accept_failed", "listen={} reason={}", address_.to_string(),
                  quoted(accepted.error().message));
        co_await closed_.wait_until(loop_.now() + kAcceptPause);
        continue;
      }
      std::unique_ptr<net::ByteStream> stream = std::move(*accepted);
      if (server_.size() >= kMaxConnections) {
        ++refused_;
        if (full_lines_.allow(loop_.now()))
          log_warn("metrics_connections_full", "cap={} refused={}", kMaxConnections, refused_);
        stream->reset();
        continue;
      }
      tasks_.spawn(server_.serve(std::move(stream)));
    }
  }

  net::Task<> metrics(http::Exchange& exchange) {
    const Metrics metrics = co_await sources_.metrics();
    auto sent = co_await exchange.respond(
        text_response(200, metrics.to_text(), "text/plain; version=0.0.4; charset=utf-8"));
    (void)sent;
  }
  net::Task<> health(http::Exchange& exchange) {
    const Faults faults = co_await sources_.health();
    auto sent = co_await exchange.respond(verdict(faults));
    (void)sent;
  }
  net::Task<> readiness(http::Exchange& exchange) {
    const Faults faults = co_await sources_.readiness();
    const Faults degradation = sources_.degradation ? sources_.degradation() : Faults();
    auto sent = co_await exchange.respond(verdict(faults, degradation));
    (void)sent;
  }

  net::Task<> status(http::Exchange& exchange) {
    std::string body = co_await sources_.status();
    auto sent = co_await exchange.respond(text_response(200, std::move(body), "application/json"));
    (void)sent;
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::TcpListener> listener_;
  const SocketAddr address_ = listener_->local_addr();
  Sources sources_;
  http::Router router_{
      {.not_found =
           [] { return text_response(404, "not found; there are /metrics, /healthz and /readyz\n"); },
       .method_not_allowed =
           [](std::string_view allowed) {
             return text_response(405, fmt::format("only {} is allowed\n", allowed));
           }}};
  http::Server server_{loop_,
                       {.request_time = kRequestTime, .idle_time = kRequestTime, .write_time = kRequestTime},
                       [this](http::Exchange& exchange) { return router_.handle(exchange); }};
  RateLimit full_lines_{1, std::chrono::seconds(10)};
  uint64_t refused_ = 0;
  bool closing_ = false;
  net::Notify closed_;
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
