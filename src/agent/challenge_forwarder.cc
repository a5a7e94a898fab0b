#include "agent/challenge_forwarder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "http/h1_codec.h"
#include "tunnel/challenge_request.h"

namespace culvert::agent {

net::Task<Result<origin::ChallengeRequest>> ChallengeForwarder::read_request(Bytes begun) {
  const TimePoint deadline = loop.now() + patience;
  std::array<uint8_t, 2048> piece;
  while (true) {
    http::H1Decoder decoder(http::H1Decoder::Role::kRequests);
    ByteView input(begun);
    const http::H1Decoder::Event event = decoder.next(input);
    if (event == http::H1Decoder::Event::kHead) {
      http::RequestHead& head = decoder.request();
      if (decoder.body_length() != 0 || !tunnel::is_challenge_request(head.method, head.target))
        co_return fail(ErrorCode::kInvalid, "it asks for something else than a challenge");
      co_return origin::ChallengeRequest{
          .method = std::move(head.method), .target = std::move(head.target), .host = host};
    }
    if (event != http::H1Decoder::Event::kMore || begun.size() >= kMaxRequest)
      co_return fail(ErrorCode::kInvalid, "it is no HTTP request of {} bytes at most", kMaxRequest);
    auto got = co_await endpoint::read_some(loop, stream, piece, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kInvalid, "the stream ended inside the request");
    begun.insert(begun.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(*got));
  }
}

net::Task<Result<>> ChallengeForwarder::run(Bytes begun) {
  auto request = co_await read_request(std::move(begun));
  if (!request) co_return std::unexpected(request.error());
  auto answer = co_await origin::ask_for_challenge(loop, origin, std::move(*request), loop.now() + patience);
  if (!answer) co_return std::unexpected(answer.error());
  const TimePoint last = loop.now() + kLastWait;
  auto written = co_await endpoint::write_all(loop, stream, *answer, last);
  if (!written) co_return written;
  stream->finish();
  // A stream that is dropped is reset, and what was written might be lost with it.
  std::array<uint8_t, 2048> piece;
  size_t rest = kMaxRequest;
  while (rest > 0) {
    auto got = co_await endpoint::read_some(loop, stream, piece, last);
    if (!got || *got == 0) break;
    rest -= std::min(rest, *got);
  }
  co_return Result<>();
}

}  // namespace culvert::agent
