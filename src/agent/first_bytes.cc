#include "agent/first_bytes.h"

#include <algorithm>

namespace culvert::agent {
namespace {

// Of the pages of nginx, Go's net/http, Apache httpd and Tomcat for an HTTP request on their HTTPS port.
constexpr std::string_view kAsksForHttps[] = {
    "plain HTTP request was sent to HTTPS port", "HTTP request to an HTTPS server",
    "speaking plain HTTP to an SSL-enabled", "combination of host and port requires TLS"};

}  // namespace

void FirstBytes::origin_bytes(ByteView bytes) {
  size_t count = std::min(bytes.size(), kKept - count_);
  std::ranges::copy(bytes.first(count), kept_ + count_);
  count_ += count;
  if (!is_bad_request()) return;
  bytes = bytes.subspan(count);
  page_.append(as_text(bytes.first(std::min(bytes.size(), kKeptOfPage - page_.size()))));
}

bool FirstBytes::is_bad_request() const {
  std::string_view text = as_text(ByteView(kept_, count_));
  return text.starts_with("HTTP/1.") && text.ends_with(" 400");
}

std::optional<Refusal> FirstBytes::verdict(bool origin_ended) const {
  if (count_ == 0) return proxy_sent_ && origin_ended ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
  if (kind_ == tunnel::StreamKind::kTcpPort) return std::nullopt;
  if (kind_ == tunnel::StreamKind::kPassthrough) {
    // RFC 8446, 5.1: what a TLS server sends first is a handshake record (22) or an alert (21). Some HTTP
    // servers answer what they cannot parse with a page and no status line, so anything else counts.
    bool is_alert = kept_[0] == 0x15;
    bool is_tls = is_alert || kept_[0] == 0x16;
    // An alert without a PROXY header is the origin's own word to its client.
    if (proxy_sent_) return is_alert || !is_tls ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
    return is_tls ? std::nullopt : std::optional(Refusal::kPlainHttp);
  }
  // RFC 8446, 5.1: an alert record of some version of TLS.
  const bool is_alert = count_ >= 2 && kept_[0] == 0x15 && kept_[1] == 3;
  const bool asks_for_https =
      std::ranges::any_of(kAsksForHttps, [this](std::string_view text) { return page_.contains(text); });
  // Either may come of a PROXY header as well, which a server that expects TLS takes for a broken hello.
  if (asks_for_https || (is_alert && !proxy_sent_)) return Refusal::kHttps;
  return proxy_sent_ && is_bad_request() ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
}

const char* hint(Refusal refusal) {
  switch (refusal) {
    case Refusal::kProxyProtocol:
      return "the connection began with a PROXY header because proxy_protocol is v2; set it to none for this "
             "service, or make the origin accept PROXY protocol v2";
    case Refusal::kPlainHttp:
      return "the origin seems to speak plain HTTP where TLS was passed through; set tls_mode to terminate "
             "for this service";
    case Refusal::kHttps:
      return "the origin expects TLS, but tls_mode terminate sends it plain HTTP; give the origin's HTTP "
             "port, or origin_server_name for TLS with the origin, or set tls_mode to passthrough for this "
             "service";
  }
  return "";
}

}  // namespace culvert::agent
