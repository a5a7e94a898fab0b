#pragma once
#include <memory>
#include <string>

#include "acme/https_url.h"
#include "base/result.h"
#include "http/message.h"
#include "net/event_loop.h"

namespace culvert::acme {

// Asks HTTPS servers, one request at a time. Keeps the last connection for the next request to the same
// server. Follows no redirect. Lives on one loop.
class HttpsClient {
 public:
  // A server that is slower than this is as good as down.
  static constexpr Duration kRequestTime = std::chrono::seconds(30);

  // Servers have to chain to these PEM roots; empty: to those of the system.
  HttpsClient(net::EventLoop& loop, std::string root_pem);
  HttpsClient(const HttpsClient&) = delete;
  HttpsClient& operator=(const HttpsClient&) = delete;
  ~HttpsClient();

  // The answer, whatever its status but a redirect; the target and the Host of the request are those of
  // `url`. Errors: kUnavailable, kTimeout and kReset (not reached, or lost before the answer), kUnauthorized
  // (not the server of that name), kLimit (the body is over `cap`), kInvalid (a redirect, or not HTTP). The
  // message names the server.
  net::Task<Result<http::Response>> call(HttpsUrl url, http::Request request, size_t cap, TimePoint deadline);

 private:
  struct Connection;

  net::Task<Result<>> connect(HttpsUrl url, TimePoint deadline);
  net::Task<Result<http::Response>> exchange(http::Request request, size_t cap, TimePoint deadline);

  net::EventLoop& loop_;
  const std::string root_pem_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace culvert::acme
