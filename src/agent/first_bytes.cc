#include "agent/first_bytes.h"

#include <algorithm>

namespace culvert::agent {

void FirstBytes::origin_bytes(ByteView bytes) {
  size_t count = std::min(bytes.size(), kKept - count_);
  std::ranges::copy(bytes.first(count), kept_ + count_);
  count_ += count;
}

std::optional<Refusal> FirstBytes::origin_ended() const {
  if (count_ == 0) return proxy_sent_ ? std::optional(Refusal::kProxyProtocol) : std::nullopt;
  std::string_view text = as_text(ByteView(kept_, count_));
  bool is_http = text.starts_with("HTTP/1.");
  if (mode_ == route::TlsMode::kPassthrough) {
    bool is_tls_alert = count_ >= 2 && kept_[0] == 0x15 && kept_[1] == 0x03;  // RFC 8446, 5.1
    if (proxy_sent_ && (is_tls_alert || is_http)) return Refusal::kProxyProtocol;
    // An alert without a PROXY header is the origin's own word to its client; plain HTTP never is.
    if (is_http) return Refusal::kPlainHttp;
    return std::nullopt;
  }
  if (proxy_sent_ && is_http && text.ends_with(" 400")) return Refusal::kProxyProtocol;
  return std::nullopt;
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
