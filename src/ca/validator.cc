#include "ca/validator.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "base/version.h"
#include "http/client.h"
#include "net/resolver.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::ca {
namespace {

using acme::Challenge;
using acme::ChallengeType;
using acme::Problem;
using acme::ProblemType;

// As Let's Encrypt.
constexpr int kMaxRedirects = 10;
// A key authorization is some 90 bytes long.
constexpr size_t kMaxBody = 4096;

Problem problem(ProblemType type, std::string detail) {
  return {.type = type, .detail = std::move(detail), .parts = {}};
}

Problem not_connected(const Error& error) {
  const bool is_dns = error.code == ErrorCode::kNotFound;
  return problem(is_dns ? ProblemType::kDns : ProblemType::kConnection, error.message);
}

// With the dot at its end a name is not looked for in the domains of resolv.conf.
std::string complete(const std::string& host) { return parse_ip(host) ? host : host + "."; }

struct Reached {
  net::EventLoop& loop;
  HttpPorts ports;
  TimePoint deadline;
};

// One connection with one request. The certificate of a server that a redirect leads to does not count: the
// name may be about to get its first one.
net::Task<Result<http::Response>> fetch(Reached at, HttpLocation location) {
  auto transport = co_await net::tcp_connect(at.loop, complete(location.host),
                                             location.is_https ? at.ports.tls : at.ports.http, at.deadline);
  if (!transport) co_return std::unexpected(transport.error());
  std::unique_ptr<net::ByteStream> stream = std::move(*transport);
  if (location.is_https) {
    auto connected = co_await tls::connect(
        std::move(stream), location.host,
        tls::make_client_context({.is_insecure = true, .alpn = {"http/1.1"}}), at.deadline);
    if (!connected.stream) co_return fail(ErrorCode::kUnavailable, "{}", connected.stream.error().message);
    stream = std::move(*connected.stream);
  }
  http::Client client(*stream);
  http::Request request{.method = "GET", .target = location.target, .headers = {}, .body = {}};
  request.headers.add("Host", location.authority());
  request.headers.add("User-Agent", fmt::format("culvert-ca/{}", kVersion));
  request.headers.add("Connection", "close");
  auto sent = co_await client.send(std::move(request), at.deadline);
  if (!sent) co_return fail(ErrorCode::kUnavailable, "no answer: {}", sent.error().message);
  auto head = co_await client.read_head(at.deadline);
  if (!head) co_return fail(ErrorCode::kUnavailable, "no answer: {}", head.error().message);
  http::Response out{.status = head->status, .headers = std::move(head->headers), .body = {}};
  if (out.status != 200) co_return out;
  auto body = co_await client.read_all(kMaxBody, at.deadline);
  if (!body) co_return fail(ErrorCode::kUnavailable, "no usable answer: {}", body.error().message);
  out.body = std::move(*body);
  co_return out;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

net::Task<std::optional<Problem>> Validator::validate(Challenge challenge) {
  Duration pause = options_.pause;
  for (int i = 1;; ++i) {
    auto found = co_await look(challenge, loop_.now() + options_.try_time);
    if (!found || i >= options_.tries) co_return found;
    co_await net::sleep_for(loop_, pause);
    pause *= 2;
  }
}

net::Task<std::optional<Problem>> Validator::look(Challenge challenge, TimePoint deadline) {
  switch (challenge.type) {
    case ChallengeType::kHttp01: {
      auto found = co_await look_over_http(std::move(challenge), deadline);
      co_return found;
    }
    case ChallengeType::kTlsAlpn01: {
      auto found = co_await look_over_tls(std::move(challenge), deadline);
      co_return found;
    }
    case ChallengeType::kDns01:
      break;
  }
  auto found = co_await look_in_dns(std::move(challenge), deadline);
  co_return found;
}

net::Task<std::optional<Problem>> Validator::look_over_http(Challenge challenge, TimePoint deadline) {
  HttpLocation location{.is_https = false, .host = challenge.name, .target = challenge.http_path()};
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    auto response = co_await fetch({.loop = loop_, .ports = options_.ports, .deadline = deadline}, location);
    const std::string where = location.to_string();
    if (!response) {
      Problem out = not_connected(response.error());
      out.detail = fmt::format("{}: {}", where, out.detail);
      co_return out;
    }
    if (is_redirect(response->status)) {
      const std::string* target = response->headers.find("location");
      auto next = location.follow(target == nullptr ? "" : *target, options_.ports);
      if (!next)
        co_return problem(ProblemType::kConnection, fmt::format("{}: {}", where, next.error().message));
      location = std::move(*next);
      continue;
    }
    if (response->status != 200) {
      co_return problem(ProblemType::kUnauthorized,
                        fmt::format("{} answers with the status {}", where, response->status));
    }
    // White space at its end is ignored (RFC 8555, 8.3).
    const std::string_view body = response->body;
    const size_t last = body.find_last_not_of(" \t\r\n");
    if (body.substr(0, last == body.npos ? 0 : last + 1) == challenge.key_authorization)
      co_return std::nullopt;
    co_return problem(ProblemType::kUnauthorized,
                      fmt::format("{} has {}, expected {}", where, quoted(body.substr(0, 100)),
                                  challenge.key_authorization));
  }
  co_return problem(ProblemType::kConnection,
                    fmt::format("{} leads to more than {} redirects", challenge.name, kMaxRedirects));
}

net::Task<std::optional<Problem>> Validator::look_over_tls(Challenge challenge, TimePoint deadline) {
  auto transport = co_await net::tcp_connect(loop_, complete(challenge.name), options_.ports.tls, deadline);
  if (!transport) co_return not_connected(transport.error());
  auto checked =
      co_await tls::check_acme_challenge(std::move(*transport), challenge.name, challenge.digest(), deadline);
  if (checked) co_return std::nullopt;
  const bool is_other = checked.error().code == ErrorCode::kUnauthorized;
  co_return problem(is_other ? ProblemType::kUnauthorized : ProblemType::kTls, checked.error().message);
}

net::Task<std::optional<Problem>> Validator::look_in_dns(Challenge challenge, TimePoint deadline) {
  const std::string name = challenge.dns_name(), wanted = challenge.dns_text();
  auto texts = co_await net::resolve_texts(loop_, name, deadline);
  if (!texts) co_return problem(ProblemType::kDns, texts.error().message);
  if (std::ranges::find(*texts, wanted) != texts->end()) co_return std::nullopt;
  if (texts->empty())
    co_return problem(ProblemType::kUnauthorized, fmt::format("{} has no TXT record", name));
  co_return problem(ProblemType::kUnauthorized,
                    fmt::format("none of the {} TXT records of {} is {}; the first one is {}", texts->size(),
                                name, wanted, quoted(texts->front().substr(0, 100))));
}

}  // namespace culvert::ca
