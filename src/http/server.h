#pragma once
#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "http/exchange.h"
#include "net/byte_stream.h"

namespace culvert::http {

class H1Exchange;

// What the one who accepted a connection knows and is told of it.
struct ConnectionOptions {
  std::function<void()> on_request = nullptr;  // with each request that has come completely
  std::function<void()> on_keep = nullptr;     // Exchange::keep
  // Who the client is, where a proxy has told; otherwise as the stream says.
  std::optional<SocketAddr> client = std::nullopt;
  Bytes received = {};  // of the client, read from the stream already
};

struct ServerOptions {
  // From the first byte of a request to the end of its head, or of its body where the handler wants all of
  // it. A new connection has it for its first byte as well.
  Duration request_time = std::chrono::seconds(10);
  Duration idle_time = std::chrono::seconds(60);   // between the requests of one connection
  Duration write_time = std::chrono::seconds(10);  // for an answer in one write
  std::function<UnixTime()> wall_clock = {};       // of the Date field; not set: the loop's
  // Called first with each exchange, also with one whose request could not be read: to set Exchange::always.
  std::function<void(Exchange&)> prepare = {};
  // The body of an answer that the server gives itself: 400, 408, 413, 417, 431, 500.
  std::function<Response(int status, const Error& reason, const Exchange&)> refusal = {};
  // Called once for each exchange that was answered, by whomever.
  std::function<void(const Exchange&)> ended = {};
};

// Serves HTTP/1.1 on connections that others accepted: reads requests, one at a time for each connection, and
// gives them to a handler. What is not HTTP, too large or too slow is answered and closed. Lives on one loop.
class Server {
 public:
  using Handler = std::function<net::Task<>(Exchange&)>;

  Server(net::EventLoop& loop, ServerOptions options, Handler handler);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // Until the connection ends, idles or misbehaves. How many there are is the caller's to bound: each costs
  // some 100 KiB at worst, and what its handler keeps. The server outlives the task.
  net::Task<> serve(std::unique_ptr<net::ByteStream> stream, ConnectionOptions options = {});
  size_t size() const { return open_->size(); }

  // Ends all connections at once, and what is served later.
  void close();
  // Ends those that wait for another request, and the others when their next answer is sent.
  void drain();

 private:
  struct Connection;

  net::Task<> serve_requests(Connection& connection);
  net::Task<bool> serve_request(Connection& connection);
  // Answers with the reason and closes; without a status the client is gone.
  net::Task<> refuse(H1Exchange& exchange, std::optional<int> status, Error reason);

  net::EventLoop& loop_;
  ServerOptions options_;
  Handler handler_;
  // Shared with the connections: a task that is destroyed with its loop may be the last to go.
  std::shared_ptr<std::list<Connection*>> open_ = std::make_shared<std::list<Connection*>>();
  bool closed_ = false;
  bool draining_ = false;
};

}  // namespace culvert::http
