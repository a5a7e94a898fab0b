#pragma once
#include <deque>
#include <functional>
#include <string>

#include "agent/agent.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "http/h1_codec.h"

namespace culvert::agent {

// Sees copies of the plaintext of one terminated connection, in both directions, and reports each exchange
// when the origin's final answer has begun: the duration is how long the origin took to answer. Sans-I/O,
// bounded whatever the size of heads and bodies, and harmless: it observes (http::H1Rules::kObserver), and
// what it cannot follow it stops following.
class HttpTap {
 public:
  static constexpr size_t kMaxPending = 32;  // pipelined requests without an answer
  static constexpr size_t kMaxShown = 512;   // of a method or a target: what a log line can show
  // Of lines and pending requests together. A character that is not visible is shown as four.
  static constexpr size_t kMaxBuffered =
      2 * (http::H1LineReader::kMaxObserved + 16) + kMaxPending * 2 * (4 * kMaxShown + 3);

  using Report = std::function<void(const RequestLine&)>;

  HttpTap(std::string host, Report report);
  HttpTap(const HttpTap&) = delete;

  void request_bytes(ByteView bytes, TimePoint now);
  void response_bytes(ByteView bytes, TimePoint now);
  // The connection ended: requests that got no answer are reported with status 0.
  void closed(TimePoint now);
  bool is_quiet() const { return quiet_; }
  size_t buffered() const;

 private:
  struct Pending {
    std::string method;
    std::string target;
    TimePoint began;  // its head was complete
  };

  void on_request(TimePoint now);
  void on_response(TimePoint now);
  void report(const Pending& pending, int status, TimePoint now);
  void expect_next();
  void go_quiet();

  std::string host_;
  Report report_;
  http::H1Decoder requests_{http::H1Decoder::Role::kRequests, http::H1Rules::kObserver};
  http::H1Decoder responses_{http::H1Decoder::Role::kResponses, http::H1Rules::kObserver};
  std::deque<Pending> pending_;
  bool quiet_ = false;
};

}  // namespace culvert::agent
