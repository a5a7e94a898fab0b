#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "agent/agent.h"
#include "base/bytes.h"
#include "base/clock.h"

namespace culvert::agent {

// Follows the messages of one direction of an HTTP/1.x connection: where each head and each body ends (RFC
// 9112). Bodies are only counted; a head, of any size, is looked at line by line and never kept whole.
class HttpScanner {
 public:
  static constexpr size_t kMaxLine =
      8 * 1024;                            // of a longer one only the beginning, and the version behind it
  static constexpr size_t kMaxKept = 512;  // of the start line: what a log line can show

  // What the head said; the owner answers with the body's framing.
  struct Head {
    std::string start_line;  // without its line end; a longer one is cut before its version
    std::optional<uint64_t> content_length;
    bool has_transfer_encoding = false;
    bool is_chunked = false;  // the last transfer coding is "chunked"
  };
  enum class Body { kNone, kLength, kChunked, kUntilClose, kOpaque };

  // Called at the end of each head. kOpaque: what follows is no HTTP; nothing is looked at any more.
  using OnHead = std::function<Body(const Head&)>;

  explicit HttpScanner(OnHead on_head) : on_head_(std::move(on_head)) {}

  void feed(ByteView bytes);
  bool is_opaque() const { return state_ == State::kOpaque; }
  void make_opaque();

 private:
  //  kHead ──blank line──▶ by the owner's answer:
  //     kNone            kHead      the next message
  //     kLength          kLength    counts down, then kHead
  //     kChunked         kChunkSize ─▶ kChunkData ─▶ kChunkEnd ─▶ kChunkSize ... size 0 ─▶ kTrailer ─▶ kHead
  //     kUntilClose      kUntilClose  the rest of the connection is one body
  //  anything malformed: kOpaque, for good.
  enum class State { kHead, kLength, kChunkSize, kChunkData, kChunkEnd, kTrailer, kUntilClose, kOpaque };

  // Moves bytes up to a line feed into line_; true when the line is whole (its end removed).
  bool take_line(ByteView& bytes);
  void append_to_line(std::string_view text);
  void head_line();
  void header_field(std::string_view line);
  void end_of_head();
  void chunk_size_line();

  OnHead on_head_;
  State state_ = State::kHead;
  std::string line_;
  std::string line_end_;  // the last bytes of a line that is longer than kMaxLine
  Head head_;
  uint64_t remaining_ = 0;
};

// Sees the plaintext of one terminated connection, in both directions, and reports each exchange when the
// origin's final answer has begun: the duration is how long the origin took to answer. Sans-I/O, bounded, and
// harmless: what it cannot follow it stops following.
class HttpTap {
 public:
  static constexpr size_t kMaxPending = 32;  // pipelined requests without an answer

  using Report = std::function<void(const RequestLine&)>;

  HttpTap(std::string host, Report report);
  HttpTap(const HttpTap&) = delete;

  void request_bytes(ByteView bytes, TimePoint now);
  void response_bytes(ByteView bytes, TimePoint now);
  // The connection ended: requests that got no answer are reported with status 0.
  void closed(TimePoint now);
  bool is_quiet() const { return quiet_; }

 private:
  struct Pending {
    std::string method;
    std::string target;
    TimePoint began;  // its head was whole
  };

  HttpScanner::Body on_request(const HttpScanner::Head& head);
  HttpScanner::Body on_response(const HttpScanner::Head& head);
  void report(const Pending& pending, int status);
  void go_quiet();

  std::string host_;
  Report report_;
  HttpScanner requests_;
  HttpScanner responses_;
  std::deque<Pending> pending_;
  TimePoint now_{};
  bool quiet_ = false;
};

}  // namespace culvert::agent
