#pragma once
#include <optional>
#include <string>

#include "base/bytes.h"
#include "tunnel/stream_header.h"

namespace culvert::agent {

// How an origin that refuses a connection's first bytes shows it.
enum class Refusal {
  kProxyProtocol,  // it does not understand the PROXY header it got
  kPlainHttp,      // it answers TLS with plain HTTP
  kHttps,          // it answers plain HTTP with a TLS alert, or with a page that asks for HTTPS
};

// Looks at what an origin sends first, to tell a misconfiguration from a conversation. Sans-I/O, keeps twelve
// bytes, and the beginning of a page with status 400.
class FirstBytes {
 public:
  FirstBytes(tunnel::StreamKind kind, bool proxy_protocol_sent)
      : kind_(kind), proxy_sent_(proxy_protocol_sent) {}

  void origin_bytes(ByteView bytes);
  bool is_empty() const { return count_ == 0; }
  // What to make of it. Silence is a refusal only where `origin_ended`: it closed or reset its side by
  // itself.
  std::optional<Refusal> verdict(bool origin_ended) const;

 private:
  static constexpr size_t kKept = 12;          // "HTTP/1.1 400"
  static constexpr size_t kKeptOfPage = 1024;  // head and text of what web servers say by themselves

  bool is_bad_request() const;

  tunnel::StreamKind kind_;
  bool proxy_sent_;
  uint8_t kept_[kKept] = {};
  size_t count_ = 0;
  std::string page_;
};

// What the operator can do about it.
const char* hint(Refusal refusal);

}  // namespace culvert::agent
