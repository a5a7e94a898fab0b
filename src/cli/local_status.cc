#include "cli/local_status.h"

#include "http/client.h"
#include "net/event_loop.h"
#include "net/tcp.h"

namespace culvert::cli {
namespace {

constexpr Duration kLocalTime = std::chrono::seconds(10);

net::Task<> fetch_into(net::EventLoop& loop, SocketAddr address, std::string path,
                       Result<http::Response>& answer) {
  const TimePoint deadline = loop.now() + kLocalTime;
  auto stream = co_await net::tcp_connect(loop, address, deadline);
  if (!stream) {
    answer = std::unexpected(stream.error());
    co_return;
  }
  http::Request request{.method = "GET", .target = std::move(path), .headers = {}, .body = {}};
  request.headers.add("Connection", "close");
  answer = co_await http::fetch(**stream, address.to_string(), std::move(request), deadline);
}

}  // namespace

Result<LocalAnswer> get_locally(SocketAddr listen, std::string path) {
  // One that listens on every address is on this one as well.
  const SocketAddr address = listen.is_unspecified() ? SocketAddr::v4({127, 0, 0, 1}, listen.port()) : listen;
  net::EventLoop loop;
  Result<http::Response> answer = fail(ErrorCode::kClosed, "the call was interrupted");
  net::TaskGroup tasks(loop);
  tasks.spawn(fetch_into(loop, address, std::move(path), answer));
  loop.run();
  if (answer) return LocalAnswer{answer->status, std::move(answer->body)};
  return fail(ErrorCode::kUnavailable, "nothing answers at {}: {}", address.to_string(),
              answer.error().message);
}

}  // namespace culvert::cli
