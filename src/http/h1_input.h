#pragma once
#include "http/h1_codec.h"
#include "net/byte_stream.h"

namespace culvert::http {

// The receiving half of an HTTP/1.1 connection: a stream's bytes, decoded as they are asked for. Nothing is
// read from the stream before, so a body without a reader stops its sender.
class H1Input {
 public:
  // The stream outlives it and has no other reader.
  H1Input(net::ByteStream& stream, H1Decoder::Role role, H1Rules rules);
  H1Input(const H1Input&) = delete;
  H1Input& operator=(const H1Input&) = delete;
  ~H1Input();  // wipes what was read: it may hold a token

  // Before anything else: bytes that were read from the stream already.
  void begin(Bytes received);
  H1Decoder& decoder() { return decoder_; }
  // No byte of a next message is here.
  bool is_idle() const { return unread_.empty() && decoder_.is_between_messages(); }

  // Bytes have come that were not decoded yet.
  bool has_more() const { return !unread_.empty(); }

  // Waits for a byte while is_idle(). False: the peer ended instead. After kTimeout the stream is still open,
  // here and below.
  net::Task<Result<bool>> wait_for_message(TimePoint deadline);
  // The next head, final or informational. Errors: kTimeout, kReset, kClosed (the peer ended before a
  // message), those of the decoder, and kInvalid where HTTP has ended.
  net::Task<Result<H1Decoder::Event>> read_head(TimePoint deadline);
  // The next piece of the body behind that head, valid until the next call; empty: it has ended, and
  // trailers() are there.
  net::Task<Result<ByteView>> read_body(TimePoint deadline);
  bool body_ended() const { return body_ended_; }
  const Headers& trailers() const { return trailers_; }
  // Reads and forgets what still comes, up to `cap` bytes: for an end that has answered and closes. False:
  // not all of it came in time.
  net::Task<bool> discard(size_t cap, TimePoint deadline);

 private:
  net::Task<Result<H1Decoder::Event>> next(TimePoint deadline);
  net::Task<Result<size_t>> fill(TimePoint deadline);

  net::Reader reader_;
  H1Decoder decoder_;
  Bytes buffer_;
  ByteView unread_;  // of buffer_
  bool body_ended_ = true;
  Headers trailers_;
};

}  // namespace culvert::http
