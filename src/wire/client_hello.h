#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace culvert::wire {

// What routing needs to know of a TLS ClientHello (RFC 8446, 4.1.2).
struct ClientHello {
  std::optional<std::string> server_name;  // RFC 6066, 3: folded to lower case, one trailing dot removed
  std::vector<std::string> alpn;           // RFC 7301, 3.1: the protocols that the client offers
};

// Reassembles a ClientHello from bytes as they arrive, over any segmentation and over several TLS records.
// Sans-I/O. Holds at most kMaxBytes: post-quantum hellos are near 2 KiB, anything past the cap is not a
// browser.
class ClientHelloReader {
 public:
  static constexpr size_t kMaxBytes = 16384;

  enum class State {
    kNeedMore,  // feed() again
    kDone,      // hello() is there
    kNotTls,    // the bytes are no TLS handshake; error() says why
    kTooLong,   // more than kMaxBytes without an end
  };

  // After the end, more bytes are only kept; they change neither state() nor hello().
  State feed(ByteView bytes);
  State state() const { return state_; }
  const ClientHello& hello() const { return hello_; }  // after kDone
  const std::string& error() const { return error_; }
  // Everything fed so far, to be forwarded or handed to the TLS library.
  const Bytes& received() const { return received_; }
  Bytes take_received() { return std::move(received_); }

 private:
  void stop(State state, std::string error);
  void begin_record();
  void take_fragment();

  State state_ = State::kNeedMore;
  ClientHello hello_;
  std::string error_;
  Bytes received_;
  size_t scanned_ = 0;      // of received_; what is before is never looked at again
  size_t record_left_ = 0;  // of the current record's fragment
  Bytes handshake_;         // fragments joined, up to the end of the hello
};

}  // namespace culvert::wire
