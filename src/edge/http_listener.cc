#include "edge/http_listener.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/ascii.h"
#include "base/hostname.h"
#include "http/h1_codec.h"
#include "tunnel/challenge_request.h"

namespace culvert::edge {
namespace {

// Between requests: a connection keeps its place among those that are not served.
constexpr Duration kIdleTime = std::chrono::seconds(5);

// RFC 9110, 7.2, without a port; empty: there is none, or it is not a hostname.
std::string host_of(const http::Headers& headers) {
  const std::string* field = headers.find("Host");
  if (field == nullptr) return {};
  std::string host = to_lower(field->substr(0, field->find(':')));
  if (host.ends_with('.')) host.pop_back();
  return is_hostname(host) ? host : std::string();
}

// Of a request that may go to an origin. CAs send some 300 bytes.
constexpr size_t kMaxChallengeHead = 4096;

// Whether what was read may become such a request; it is read no further otherwise.
bool may_be_challenge(std::string_view begun) {
  for (const std::string_view method : {"GET ", "HEAD "}) {
    const std::string start = std::string(method) + std::string(tunnel::kChallengePath);
    if (begun.substr(0, start.size()) == std::string_view(start).substr(0, begun.size())) return true;
  }
  return false;
}

http::Response text(int status, std::string body) {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("Cache-Control", "no-store");
  return response;
}

}  // namespace

HttpListener::HttpListener(WorkerContext& context, Carrier& carrier)
    : context_(context),
      carrier_(carrier),
      server_(context.loop,
              {.request_time = context.shared.options.get()->hello_timeout, .idle_time = kIdleTime},
              [this](http::Exchange& exchange) { return answer(exchange); }) {}

net::Task<bool> HttpListener::read_head(net::ByteStream& socket, Bytes& begun) {
  const TimePoint deadline = context_.loop.now() + context_.shared.options.get()->hello_timeout;
  std::array<uint8_t, 2048> piece;
  while (may_be_challenge(as_text(begun)) && begun.size() < kMaxChallengeHead &&
         !as_text(begun).contains("\r\n\r\n")) {
    auto got = co_await net::read_some(socket, piece, deadline);
    if (!got) co_return false;
    if (*got == 0) break;
    begun.insert(begun.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(*got));
  }
  co_return true;
}

std::optional<HttpListener::Challenge> HttpListener::challenge_in(const Bytes& begun) const {
  if (!may_be_challenge(as_text(begun))) return std::nullopt;
  http::H1Decoder decoder(http::H1Decoder::Role::kRequests);
  ByteView input(begun);
  if (decoder.next(input) != http::H1Decoder::Event::kHead || decoder.body_length() != 0) return std::nullopt;
  const http::RequestHead& head = decoder.request();
  const std::string host = host_of(head.headers);
  if (host.empty() || !tunnel::is_challenge_request(head.method, head.target)) return std::nullopt;
  const auto& challenges = context_.shared.config.challenges;
  if (challenges && challenges->http_answer(host, head.target)) return std::nullopt;
  const route::Route* route = context_.routes.current().match(host);
  if (route == nullptr || !takes(*route, tunnel::StreamKind::kChallenge)) return std::nullopt;
  // One request, whatever else the client has sent or sends: the agent reads no further.
  http::Headers headers;
  headers.add("Host", host);
  headers.add("Connection", "close");
  std::string request;
  http::append_request_head(request, head.method, head.target, headers);
  return Challenge{.host = host, .request = to_bytes(as_bytes(request))};
}

net::Task<> HttpListener::serve(PublicConnection connection, Bytes begun) {
  const bool is_there = co_await read_head(*connection.socket, begun);
  connection.end_as(is_there ? CloseReason::kAnswered : CloseReason::kClientGone);
  if (!is_there) co_return;
  if (auto challenge = challenge_in(begun)) {
    count(context_.shared.counters.challenges_forwarded);
    connection.host = std::move(challenge->host);
    connection.received = std::move(challenge->request);
    connection.kind = tunnel::StreamKind::kChallenge;
    co_return co_await carrier_.give_to_agent(std::move(connection));
  }
  // Its place among the pending ends with its slot, when it has ended: no request leads to an agent.
  http::ConnectionOptions options{.client = connection.client, .received = std::move(begun)};
  auto socket = std::move(connection.socket);
  co_await server_.serve(std::move(socket), std::move(options));
}

net::Task<> HttpListener::answer(http::Exchange& exchange) {
  auto sent = co_await exchange.respond(response_to(exchange));
  (void)sent;  // the client is gone
}

http::Response HttpListener::response_to(const http::Exchange& exchange) {
  Shared& shared = context_.shared;
  const std::string host = host_of(exchange.request.headers);
  if (const auto& challenges = shared.config.challenges) {
    if (auto answer = challenges->http_answer(host, exchange.path())) {
      count(shared.counters.challenges_answered);
      http::Response response{.status = 200, .headers = {}, .body = std::move(*answer)};
      response.headers.add("Content-Type", "application/octet-stream");
      return response;
    }
  }
  const bool is_known = !host.empty() && (shared.config.hub_names.contains(host) ||
                                          context_.routes.current().match(host) != nullptr);
  if (!is_known) return text(404, "404: this name is not known here.\n");
  count(shared.counters.redirected);
  // Any other form names a host of its own (RFC 9112, 3.2).
  const std::string target = exchange.request.target.starts_with('/') ? exchange.request.target : "/";
  const uint16_t port = shared.config.options.tcp_listen->port();
  http::Response response = text(308, "308: this service is at HTTPS.\n");
  response.headers.add("Location", port == 443 ? fmt::format("https://{}{}", host, target)
                                               : fmt::format("https://{}:{}{}", host, port, target));
  return response;
}

}  // namespace culvert::edge
