#include "agent/first_bytes.h"

#include <algorithm>

namespace culvert::agent {

void FirstBytes::origin_bytes(ByteView bytes) {
  size_t count = std::min(bytes.size(), kKept - count_);
  std::ranges::copy(bytes.first(count), kept_ + count_);
  count_ += count;
}

std::optional<Refusal> FirstBytes::verdict(bool origin_ended) const {
  if (count_ == 0) return proxy_sent_ && origin_ended ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
  if (mode_ == route::TlsMode::kPassthrough) {
    // RFC 8446, 5.1: what a TLS server sends first is a handshake record (22) or an alert (21). Some HTTP
    // servers answer what they cannot parse with a page and no status line, so anything else counts.
    bool is_alert = kept_[0] == 0x15;
    bool is_tls = is_alert || kept_[0] == 0x16;
    // An alert without a PROXY header is the origin's own word to its client.
    if (proxy_sent_) return is_alert || !is_tls ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
    return is_tls ? std::nullopt : std::optional(Refusal::kPlainHttp);
  }
  std::string_view text = as_text(ByteView(kept_, count_));
  bool is_bad_request = text.starts_with("HTTP/1.") && text.ends_with(" 400");
  return proxy_sent_ && is_bad_request ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
}

const char* hint(Refusal refusal) {
  switch (refusal) {
    case Refusal::kProxyProtocol:
      return "the connection began with a PROXY header because proxy_protocol is v2; set it to none for this "
             "service, "
             "or make the origin accept PROXY protocol v2";
    case Refusal::kPlainHttp:
      return "the origin seems to speak plain HTTP where TLS was passed through; set tls_mode to terminate "
             "for this "
             "service";
  }
  return "";
}

}  // namespace culvert::agent
