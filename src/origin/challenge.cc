#include "origin/challenge.h"

#include <utility>

#include "http/client.h"
#include "http/h1_codec.h"

namespace culvert::origin {

net::Task<Result<Bytes>> ask_for_challenge(net::EventLoop& loop, Origin origin, ChallengeRequest request,
                                           TimePoint deadline) {
  auto reached = co_await reach(loop, std::move(origin), {}, true, deadline);
  if (reached.fault) {
    const bool is_late = reached.fault->kind == OriginFault::Kind::kTimeout;
    co_return fail(is_late ? ErrorCode::kTimeout : ErrorCode::kUnavailable, "{}", reached.fault->reason);
  }
  http::Client client(*reached.stream);
  http::Request asked{
      .method = request.method, .target = std::move(request.target), .headers = {}, .body = {}};
  asked.headers.add("Host", request.host);
  asked.headers.add("Connection", "close");
  auto sent = co_await client.send(std::move(asked), deadline);
  if (!sent) co_return std::unexpected(sent.error());
  auto head = co_await client.read_head(deadline);
  if (!head) co_return std::unexpected(head.error());
  auto body = co_await client.read_all(kMaxChallengeAnswer, deadline);
  if (!body) co_return std::unexpected(body.error());
  reached.stream->close();
  http::Headers headers;
  for (const char* name : {"Content-Type", "Location"}) {
    if (const std::string* value = head->headers.find(name)) headers.add(name, *value);
  }
  headers.add("Content-Length", std::to_string(body->size()));
  headers.add("Connection", "close");
  std::string answer;
  http::append_response_head(answer, head->status, headers);
  if (request.method != "HEAD") answer += *body;
  co_return to_bytes(as_bytes(answer));
}

}  // namespace culvert::origin
