#include "edge/http_listener.h"

#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "base/hostname.h"

namespace culvert::edge {
namespace {

// Between requests: a connection keeps its place among those that are not served.
constexpr Duration kIdleTime = std::chrono::seconds(5);

// RFC 9110, 7.2, without a port; empty: there is none, or it is not a hostname.
std::string host_of(const http::Request& request) {
  const std::string* field = request.headers.find("Host");
  if (field == nullptr) return {};
  std::string host = to_lower(field->substr(0, field->find(':')));
  if (host.ends_with('.')) host.pop_back();
  return is_hostname(host) ? host : std::string();
}

http::Response text(int status, std::string body) {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("Cache-Control", "no-store");
  return response;
}

}  // namespace

HttpListener::HttpListener(WorkerContext& context)
    : context_(context),
      server_(context.loop,
              {.request_time = context.shared.options.get()->hello_timeout, .idle_time = kIdleTime},
              [this](http::Exchange& exchange) { return answer(exchange); }) {}

net::Task<> HttpListener::serve(PublicConnection connection, Bytes begun) {
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
  const std::string host = host_of(exchange.request);
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
