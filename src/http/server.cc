#include "http/server.h"

#include "http/date.h"
#include "http/h1_exchange.h"

namespace culvert::http {
namespace {

// What a client is still sending when it is refused: read for a moment, or the kernel's RST would overtake
// our answer.
constexpr Duration kLingerTime = std::chrono::seconds(2);
constexpr size_t kLingerBytes = 256 * 1024;
// Of a body that its handler did not read: less than a new connection costs.
constexpr size_t kMaxSkipped = 64 * 1024;

// The status that tells a client why its request could not be read; nullopt: the client is gone.
std::optional<int> status_of(const Error& error, bool in_head) {
  switch (error.code) {
    case ErrorCode::kInvalid:
      return 400;
    case ErrorCode::kTimeout:
      return 408;
    case ErrorCode::kLimit:
      return in_head ? 431 : 413;
    default:
      return std::nullopt;
  }
}

}  // namespace

struct Server::Connection {
  Connection(Server& its_server, net::ByteStream& its_stream, ConnectionOptions its_options)
      : server(its_server),
        stream(its_stream),
        options(std::move(its_options)),
        input(stream, H1Decoder::Role::kRequests, H1Rules::kStrict),
        client(options.client.value_or(stream.remote_addr())),
        open(server.open_),
        place(open->insert(open->end(), this)) {
    input.begin(std::move(options.received));
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { open->erase(place); }

  H1Exchange::Context context() {
    return {.stream = stream,
            .input = input,
            .write_time = server.options_.write_time,
            .date =
                [this] {
                  const auto& wall_clock = server.options_.wall_clock;
                  return format_date(wall_clock ? wall_clock() : server.loop_.unix_now());
                },
            .on_request = options.on_request};
  }

  Server& server;
  net::ByteStream& stream;
  ConnectionOptions options;
  H1Input input;
  SocketAddr client;
  std::shared_ptr<std::list<Connection*>> open;
  std::list<Connection*>::iterator place;
  bool waits_for_next = false;  // request
};

Server::Server(net::EventLoop& loop, ServerOptions options, Handler handler)
    : loop_(loop), options_(std::move(options)), handler_(std::move(handler)) {
  if (!options_.refusal) {
    options_.refusal = [](int status, const Error& reason, const Exchange&) {
      Response response{.status = status, .headers = {}, .body = reason.message + "\n"};
      response.headers.add("Content-Type", "text/plain; charset=utf-8");
      return response;
    };
  }
}

Server::~Server() { close(); }

void Server::close() {
  closed_ = true;
  // A connection that is closed may end its task at once, which takes it off the list.
  const auto open = *open_;
  for (Connection* connection : open) connection->stream.close();
}

void Server::drain() {
  draining_ = true;
  const auto open = *open_;
  for (Connection* connection : open) {
    if (connection->waits_for_next) connection->stream.close();
  }
}

net::Task<> Server::serve(std::unique_ptr<net::ByteStream> stream, ConnectionOptions options) {
  if (!closed_) {
    Connection connection(*this, *stream, std::move(options));
    co_await serve_requests(connection);
  }
  stream->close();
}

net::Task<> Server::serve_requests(Connection& connection) {
  H1Input& input = connection.input;
  Duration patience = options_.request_time;  // for the first request
  while (!closed_) {
    auto begun = co_await input.wait_for_message(loop_.now() + patience);
    connection.waits_for_next = false;
    if (!begun || !*begun) co_return;
    patience = options_.idle_time;
    const bool goes_on = co_await serve_request(connection);
    connection.waits_for_next = goes_on && !draining_;
    if (connection.waits_for_next) continue;
    auto finished = co_await net::finish(connection.stream, loop_.now() + options_.write_time);
    if (!finished || input.is_idle()) co_return;
    const bool all = co_await input.discard(kLingerBytes, loop_.now() + kLingerTime);
    (void)all;
    co_return;
  }
}

// False: the connection takes no further request.
net::Task<bool> Server::serve_request(Connection& connection) {
  H1Input& input = connection.input;
  const TimePoint deadline = loop_.now() + options_.request_time;
  auto head = co_await input.read_head(deadline);
  if (closed_) co_return false;
  H1Exchange exchange(connection.context());
  exchange.client = connection.client;
  exchange.now = loop_.now();
  exchange.deadline = deadline;
  exchange.keep = connection.options.on_keep;
  struct Ended {
    const Server& server;
    const Exchange& exchange;
    ~Ended() {
      if (!server.closed_ && exchange.answer_status != 0 && server.options_.ended)
        server.options_.ended(exchange);
    }
  } ended{*this, exchange};
  if (options_.prepare) options_.prepare(exchange);
  if (!head) {
    co_await refuse(exchange, status_of(head.error(), true), head.error());
    co_return false;
  }
  if (exchange.body_length() == 0) {
    // Waits for nothing: the request is complete.
    auto end = co_await exchange.read(deadline);
    (void)end;
  }
  if (exchange.expects_unknown()) {
    co_await refuse(exchange, 417,
                    Error{ErrorCode::kInvalid, "the only expectation known here is 100-continue"});
    co_return false;
  }
  co_await handler_(exchange);
  if (closed_) co_return false;
  if (!exchange.has_answered()) {
    const Error reason = exchange.read_error().value_or(Error{ErrorCode::kIo, "the server has no answer"});
    co_await refuse(exchange, exchange.read_error() ? status_of(reason, false) : 500, reason);
    co_return false;
  }
  if (!exchange.has_ended()) {
    exchange.abort();
    co_return false;
  }
  if (!exchange.keeps_connection()) co_return false;
  for (size_t skipped = 0; skipped < kMaxSkipped;) {
    auto piece = co_await input.read_body(deadline);
    if (!piece) co_return false;
    if (piece->empty()) co_return true;
    skipped += piece->size();
  }
  co_return false;
}

net::Task<> Server::refuse(H1Exchange& exchange, std::optional<int> status, Error reason) {
  if (!status) co_return;
  auto sent = co_await exchange.respond_and_close(options_.refusal(*status, reason, exchange));
  (void)sent;
}

}  // namespace culvert::http
