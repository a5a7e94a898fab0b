#include "edge/public_connection.h"

#include <array>

#include "base/log.h"
#include "edge/answers.h"
#include "edge/worker.h"
#include "net/client_hello.h"
#include "net/tcp.h"
#include "net/tls.h"

namespace culvert::edge {
namespace {

constexpr Duration kTlsHandshakeTimeout = std::chrono::seconds(10);
// A client that is to be told of a failure by an HTTP answer is first given this long to ask.
constexpr Duration kRequestTimeout = std::chrono::seconds(10);
constexpr uint8_t kTlsHandshakeRecord = 22;  // RFC 8446, 5.1

// A client's connection before it is carried.
struct Client {
  std::unique_ptr<net::ByteStream> socket;
  Bytes received;
  std::string host;
  uint64_t id;
  TimePoint accepted;
  ConnectionSlot slot;
};

CarriedConnection record_of(Client& client, route::TlsMode mode) {
  return {client.host,
          mode,
          client.socket->remote_addr(),
          client.socket->local_addr(),
          client.id,
          client.accepted,
          std::move(client.slot),
          nullptr};
}

// Errors: kTimeout and kReset when the client did not finish its hello, kInvalid when it sends none. `reader`
// outlives the call.
net::Task<Result<>> read_hello(net::ByteStream& socket, net::ClientHelloReader& reader, TimePoint deadline) {
  std::array<uint8_t, 2048> chunk;
  while (reader.state() == net::ClientHelloReader::State::kNeedMore) {
    auto got = co_await net::read_some(socket, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kReset, "the client left");
    reader.feed(ByteView(chunk).first(*got));
  }
  if (reader.state() != net::ClientHelloReader::State::kDone) {
    co_return fail(ErrorCode::kInvalid, "no TLS hello: {}", reader.error());
  }
  co_return Result<>();
}

net::Task<> refuse_hello(Worker& worker, std::unique_ptr<net::ByteStream> socket, ErrorCode why,
                         bool speaks_tls) {
  Counters& counters = worker.shared().counters;
  count(why == ErrorCode::kInvalid ? counters.refused_not_tls : counters.refused_hello_timeout);
  if (why != ErrorCode::kInvalid) co_return;
  Bytes alert = speaks_tls ? net::tls_alert_record(net::TlsAlert::kDecodeError) : Bytes();
  co_await say_and_close(std::move(socket), std::move(alert));
}

bool is_for_hub(const std::unordered_set<std::string>& hub_names, const net::ClientHello& hello) {
  return !hello.server_name || hello.server_name->empty() || hub_names.contains(*hello.server_name);
}

net::Task<> refuse_unknown(Worker& worker, Client client) {
  count(worker.shared().counters.refused_unknown_hostname);
  worker.log_unknown_hostname(client.host, client.socket->remote_addr());
  co_await say_and_close(std::move(client.socket), net::tls_alert_record(net::TlsAlert::kUnrecognizedName));
}

void count_no_agent(Worker& worker, const Client& client) {
  count(worker.shared().counters.refused_no_agent);
  worker.log_no_agent(client.host, client.socket->remote_addr());
}

net::Task<> pass_through(Worker& worker, Client client, SessionPtr session) {
  if (!session) {
    count_no_agent(worker, client);
    co_await say_and_close(std::move(client.socket), net::tls_alert_record(net::TlsAlert::kInternalError));
    co_return;
  }
  auto stream = session->connection().try_open_bidi();
  if (!stream) {
    count(worker.shared().counters.refused_stream_limit);
    co_await say_and_close(std::move(client.socket), net::tls_alert_record(net::TlsAlert::kInternalError));
    co_return;
  }
  auto record = record_of(client, route::TlsMode::kPassthrough);
  session->carry(std::move(record), std::move(client.socket), std::move(stream), client.received);
}

// A page before the request would be an answer to nothing: waits for the request's first bytes.
net::Task<> answer_request(Worker& worker, Client client, Bytes answer) {
  Worker::Greeting greeting(worker, *client.socket);
  std::array<uint8_t, 2048> request;
  auto got = co_await net::read_some(*client.socket, request, monotonic_now() + kRequestTimeout);
  greeting.end();
  if (!got || *got == 0) co_return;
  co_await say_and_close(std::move(client.socket), std::move(answer));
}

net::Task<> terminate(Worker& worker, Client client, std::string pattern) {
  auto identity = worker.shared().certificates->leaf(pattern);
  if (!identity) {
    log_error("certificate_failed", "host={} reason={}", culvert::quoted(pattern),
              culvert::quoted(identity.error().message));
    co_await say_and_close(std::move(client.socket), net::tls_alert_record(net::TlsAlert::kInternalError));
    co_return;
  }
  // HTTP/1.1 only: what origins behind a byte pump understand.
  std::vector<std::string> alpn{"http/1.1"};
  auto tls = co_await net::tls_accept(std::move(client.socket), std::move(client.received), *identity,
                                      std::move(alpn), monotonic_now() + kTlsHandshakeTimeout);
  if (!tls) {
    count(worker.shared().counters.failed_tls_handshake);
    log_debug("tls_handshake_failed", "id={:x} host={} reason={}", client.id, culvert::quoted(client.host),
              culvert::quoted(tls.error().message));
    co_return;
  }
  client.socket = std::move(*tls);
  client.received.clear();

  // Much may have changed during the handshake: ask the table and the sessions again.
  route::TablePtr table = worker.table();
  const route::Route* route = table ? table->match(client.host) : nullptr;
  SessionPtr session = route ? worker.pick_session(*route) : nullptr;
  if (!session || route->tls_mode != route::TlsMode::kTerminate) {
    count_no_agent(worker, client);
    co_return co_await answer_request(worker, std::move(client), no_agent_answer());
  }
  auto stream = session->connection().try_open_bidi();
  if (!stream) {
    count(worker.shared().counters.refused_stream_limit);
    co_return co_await answer_request(worker, std::move(client), stream_limit_answer());
  }
  auto record = record_of(client, route::TlsMode::kTerminate);
  session->carry(std::move(record), std::move(client.socket), std::move(stream), {});
}

// From a whole hello to the pump. `moved`: another worker sent it here for a tunnel it believes to be here;
// it is not sent on, so that it cannot travel for ever.
net::Task<> route_client(Worker& worker, Client client, bool moved) {
  route::TablePtr table = worker.table();
  const route::Route* route = table ? table->match(client.host) : nullptr;
  if (route == nullptr) co_return co_await refuse_unknown(worker, std::move(client));

  SessionPtr session = worker.pick_session(*route);
  if (!session && !moved) {
    if (auto other = worker.pick_worker(*route)) {
      count(worker.shared().counters.connections_moved);
      int fd = net::release_descriptor(*client.socket);
      worker.shared().workers[*other]->adopt({fd, std::move(client.received), std::move(client.host),
                                              client.id, client.accepted, std::move(client.slot)});
      co_return;
    }
  }
  if (route->tls_mode == route::TlsMode::kTerminate) {
    co_return co_await terminate(worker, std::move(client), route->host.text());
  }
  co_await pass_through(worker, std::move(client), std::move(session));
}

}  // namespace

net::Task<> serve_public(Worker& worker, int fd, ConnectionSlot slot) {
  Shared& shared = worker.shared();
  TimePoint accepted = monotonic_now();
  auto socket = net::make_tcp_stream(worker.loop(), fd);
  Worker::Greeting greeting(worker, *socket);
  net::ClientHelloReader reader;
  auto whole = co_await read_hello(*socket, reader, accepted + shared.config.hello_timeout);
  greeting.end();
  if (!whole) {
    bool speaks_tls = !reader.received().empty() && reader.received().front() == kTlsHandshakeRecord;
    co_return co_await refuse_hello(worker, std::move(socket), whole.error().code, speaks_tls);
  }

  if (is_for_hub(shared.config.hub_names, reader.hello())) {
    count(shared.counters.connections_to_hub);
    int released = net::release_descriptor(*socket);
    shared.control.serve_hub({released, reader.take_received(), reader.hello().server_name.value_or("")});
    co_return;
  }
  Client client{std::move(socket),
                reader.take_received(),
                *reader.hello().server_name,
                shared.next_connection.fetch_add(1, std::memory_order_relaxed),
                accepted,
                std::move(slot)};
  co_await route_client(worker, std::move(client), false);
}

net::Task<> serve_moved(Worker& worker, MovedConnection moved) {
  Client client{net::make_tcp_stream(worker.loop(), moved.fd),
                std::move(moved.received),
                std::move(moved.host),
                moved.id,
                moved.accepted,
                std::move(moved.slot)};
  co_await route_client(worker, std::move(client), true);
}

}  // namespace culvert::edge
