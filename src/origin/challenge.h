#pragma once
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "origin/origin.h"

namespace culvert::origin {

// One request of a CA on plain HTTP (tunnel/challenge_request.h).
struct ChallengeRequest {
  std::string method;
  std::string target;
  std::string host;
};

constexpr size_t kMaxChallengeAnswer = 64 * 1024;

// Asks `origin` for it, and for nothing else, and gives a whole HTTP response: of the origin's the status,
// the type, the Location and kMaxChallengeAnswer bytes. Errors: kTimeout and kUnavailable, it was not
// reached; what http::Client says of its answer.
net::Task<Result<Bytes>> ask_for_challenge(net::EventLoop& loop, Origin origin, ChallengeRequest request,
                                           TimePoint deadline);

}  // namespace culvert::origin
