#pragma once
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "origin/challenge.h"

namespace culvert::agent {

// Gives one challenge of a CA to the origin of a passthrough service, in plain HTTP, and its answer back. The
// request is read here as well, whatever the edge has looked at: nothing but tunnel::is_challenge_request()
// and a Host field reaches the origin, and what follows the request nothing at all.
struct ChallengeForwarder {
  static constexpr size_t kMaxRequest = 4096;
  // For the edge to take the answer, and to end the stream.
  static constexpr Duration kLastWait = std::chrono::seconds(5);

  net::EventLoop& loop;
  endpoint::StreamPtr stream;
  std::string host;
  origin::Origin origin;
  Duration patience;  // with the origin, and for the request to come

  // `begun` is what has come of the request. Errors: kInvalid, the request is none; kTimeout, kUnavailable
  // and others, the origin has not answered. The stream is still to be reset then.
  net::Task<Result<>> run(Bytes begun);

 private:
  net::Task<Result<origin::ChallengeRequest>> read_request(Bytes begun);
};

}  // namespace culvert::agent
