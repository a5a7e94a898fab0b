#include "edge/sni_listener.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/log.h"
#include "edge/answers.h"
#include "tls/tls.h"
#include "wire/client_hello.h"

namespace culvert::edge {
namespace {

constexpr Duration kTlsHandshakeTimeout = std::chrono::seconds(10);
// A browser that connects ahead keeps the connection for about as long.
constexpr Duration kFirstRequestTimeout = std::chrono::seconds(60);
constexpr uint8_t kTlsHandshakeRecord = 22;  // RFC 8446, 5.1

// Errors: kTimeout and kReset when the client did not finish its hello, kInvalid when it sends none. `reader`
// outlives the call.
net::Task<Result<>> read_hello(net::ByteStream& socket, wire::ClientHelloReader& reader, TimePoint deadline) {
  std::array<uint8_t, 2048> chunk;
  while (reader.state() == wire::ClientHelloReader::State::kNeedMore) {
    auto got = co_await net::read_some(socket, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kReset, "the client left");
    reader.feed(ByteView(chunk).first(*got));
  }
  if (reader.state() != wire::ClientHelloReader::State::kDone) {
    co_return fail(ErrorCode::kInvalid, "no TLS hello: {}", reader.error());
  }
  co_return Result<>();
}

// What a client sent instead of a hello begins like an HTTP request (RFC 9112, 3): a method in capitals, and
// after a space the target. A first packet may end inside the method.
bool begins_like_http(ByteView bytes) {
  constexpr size_t kLongestMethod = 32;
  std::string_view text = as_text(bytes.first(std::min(bytes.size(), kLongestMethod + 2)));
  const size_t method = std::min(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ-"), text.size());
  if (method == 0 || method > kLongestMethod || text.front() == '-') return false;
  text.remove_prefix(method);
  if (text.empty()) return true;
  if (text.front() != ' ') return false;
  return text.size() == 1 || text[1] == '/' || text[1] == '*' || text[1] == 'h';
}

}  // namespace

net::Task<> SniListener::serve(PublicConnection connection, Bytes begun) {
  const Config& config = context_.shared.config;
  wire::ClientHelloReader reader;
  if (!begun.empty()) reader.feed(begun);
  auto complete =
      co_await read_hello(*connection.socket, reader, connection.accepted + context_.shared.hello_patience());
  if (!complete) {
    co_return co_await refuse_hello(std::move(connection), complete.error().code,
                                    to_bytes(reader.received()));
  }
  connection.host = reader.hello().server_name.value_or("");
  connection.received = reader.take_received();
  const bool is_challenge = reader.hello().alpn == std::vector<std::string>{tls::kAcmeAlpn};
  if (is_challenge && config.challenges) {
    // Any other is the origin's own affair.
    if (auto identity = config.challenges->certificate(connection.host))
      co_return co_await answer_challenge(std::move(connection), std::move(identity));
  }
  const bool is_for_hub = connection.host.empty() || config.hub_names.contains(connection.host);
  if (is_for_hub && context_.shared.control.serve_hub) co_return hand_to_hub(std::move(connection));
  co_await serve_route(std::move(connection));
}

// RFC 8737, 3: nothing follows the handshake.
net::Task<> SniListener::answer_challenge(PublicConnection connection, tls::IdentityPtr identity) {
  auto tls = co_await tls::accept(std::move(connection.socket), std::move(connection.received),
                                  std::move(identity), {tls::kAcmeAlpn},
                                  context_.loop.now() + context_.shared.patience(kTlsHandshakeTimeout));
  connection.end_as(tls ? CloseReason::kAnswered : CloseReason::kTlsHandshake);
  if (tls) {
    count(context_.shared.counters.challenges_answered);
    (*tls)->close();
  } else {
    count(context_.shared.counters.failed_tls_handshake);
  }
}

net::Task<> SniListener::refuse_hello(PublicConnection connection, ErrorCode why, Bytes received) {
  Counters& counters = context_.shared.counters;
  if (why != ErrorCode::kInvalid) {
    count(counters.refused_hello_timeout);
    connection.end_as(why == ErrorCode::kTimeout ? CloseReason::kHelloTimeout : CloseReason::kClientGone);
    co_return;
  }
  Bytes answer;
  if (begins_like_http(received)) {
    connection.end_as(CloseReason::kPlainHttp);
    context_.refusals.plain_http(connection.client);
    answer = plain_http_answer();
  } else {
    connection.end_as(CloseReason::kNotTls);
    count(counters.refused_not_tls);
    const bool speaks_tls = !received.empty() && received.front() == kTlsHandshakeRecord;
    if (speaks_tls) answer = tls::alert_record(tls::Alert::kDecodeError);
  }
  co_await refuse(std::move(connection), std::move(answer));
}

void SniListener::hand_to_hub(PublicConnection connection) {
  Shared& shared = context_.shared;
  connection.pending.reset();
  connection.slot.reset();  // the hub has a cap of its own
  connection.detach();
  ConnectionRecord record = connection.split();
  const bool taken = shared.control.serve_hub(std::move(connection));
  record.set_reason(taken ? CloseReason::kHub : CloseReason::kHubFull);
  count(taken ? shared.counters.connections_to_hub : shared.counters.refused_hub_full);
}

net::Task<> SniListener::serve_route(PublicConnection connection) {
  const route::Route* route = context_.routes.current().match(connection.host);
  if (route == nullptr) {
    connection.end_as(CloseReason::kUnknownHostname);
    context_.refusals.unknown_hostname(connection.host, connection.client);
    co_return co_await refuse(std::move(connection), tls::alert_record(tls::Alert::kUnrecognizedName));
  }
  connection.belongs_to(*route);
  // One that nobody serves has none: its client is told by an alert, as with passthrough.
  connection.kind = kind_of(*route).value_or(tunnel::StreamKind::kPassthrough);
  if (connection.kind == tunnel::StreamKind::kTerminate) {
    auto ready = co_await end_tls(std::move(connection), route->match.text());
    if (!ready) co_return;
    connection = std::move(*ready);
  }
  co_await carrier_.give_to_agent(std::move(connection));
}

// The connection with its plaintext; nullopt: it is gone.
net::Task<std::optional<PublicConnection>> SniListener::end_tls(PublicConnection connection,
                                                                std::string pattern) {
  auto identity = context_.shared.certificates->leaf(pattern);
  if (!identity) {
    connection.end_as(CloseReason::kCertificate);
    context_.refusals.no_certificate(pattern, identity.error());
    co_await refuse(std::move(connection), tls::alert_record(tls::Alert::kInternalError));
    co_return std::nullopt;
  }
  // HTTP/1 only: what origins behind a byte pump understand. The place among the pending keeps pointing at
  // the TCP stream, which lives inside the TLS stream.
  std::vector<std::string> alpn{"http/1.1", "http/1.0"};
  auto tls = co_await tls::accept(std::move(connection.socket), std::exchange(connection.received, {}),
                                  *identity, std::move(alpn),
                                  context_.loop.now() + context_.shared.patience(kTlsHandshakeTimeout),
                                  tls::NoCommonAlpn::kServeUnlessH2);
  if (!tls) {
    connection.end_as(CloseReason::kTlsHandshake);
    count(context_.shared.counters.failed_tls_handshake);
    log_debug("tls_handshake_failed", "id={:x} host={} reason={}", connection.id,
              culvert::quoted(connection.host), culvert::quoted(tls.error().message));
    co_return std::nullopt;
  }
  const bool speaks_http = tls::take_unclean_end_of_http(**tls);
  tls::Negotiated negotiated = tls::negotiated(**tls);
  connection.tls_version = std::move(negotiated.version);
  connection.alpn = std::move(negotiated.alpn);
  connection.socket = std::move(*tls);
  if (!speaks_http) co_return std::move(connection);
  connection.pending.reset();
  auto first = co_await unasked_.first_bytes(
      *connection.socket, context_.loop.now() + context_.shared.patience(kFirstRequestTimeout));
  if (!first) {
    connection.end_as(CloseReason::kUnused);
    co_return std::nullopt;
  }
  connection.received = std::move(*first);
  co_return std::move(connection);
}

}  // namespace culvert::edge
