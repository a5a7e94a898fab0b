#include "edge/answers.h"

#include <fmt/format.h>

#include <array>

#include "http/h1_codec.h"
#include "tls/tls.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// True when nothing more will come. Reads a bounded amount: a client that keeps sending is not waited for.
bool drained(net::ByteStream& socket) {
  std::array<uint8_t, 4096> ignored;
  for (int reads = 0; reads < 16; ++reads) {
    auto got = socket.try_read(ignored);
    if (got.status == net::IoStatus::kEof || got.status == net::IoStatus::kError) return true;
    if (got.status != net::IoStatus::kOk) return false;
  }
  return false;
}

}  // namespace

Bytes http_answer(int status, std::string_view text) {
  http::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  headers.add("Content-Length", fmt::format("{}", text.size() + 1));
  headers.add("Cache-Control", "no-store");
  headers.add("Connection", "close");
  std::string answer;
  http::append_response_head(answer, status, headers);
  answer.append(text).append("\n");
  return to_bytes(as_bytes(answer));
}

Bytes no_agent_answer() {
  return http_answer(
      502, "502: this name is known here, but the tunnel's agent is not connected. Start the agent again.");
}

Bytes suspended_answer() {
  return http_answer(503, "503: this service is suspended by the operator of this edge.");
}

Bytes stream_limit_answer() {
  return http_answer(
      503, "503: the tunnel's agent serves as many connections as it allows. Try again in a moment.");
}

Bytes tenant_limit_answer() {
  return http_answer(
      503, "503: this service has as many connections open as this edge allows. Try again in a moment.");
}

Bytes plain_http_answer() {
  return http_answer(400,
                     "400: this port speaks HTTPS only. Begin the URL with https:// instead of http://.");
}

Bytes local_refusal_answer(tunnel::StreamKind kind, endpoint::AppCode code, std::string_view reason) {
  if (kind == tunnel::StreamKind::kPassthrough) return tls::alert_record(tls::Alert::kInternalError);
  const std::string known = reason.empty() ? std::string() : fmt::format(" What is known of it: {}.", reason);
  switch (code) {
    case tunnel::kStreamOriginTimeout:
      return http_answer(504, "504: the origin service did not answer in time." + known);
    case tunnel::kStreamOriginUntrusted:
      return http_answer(502, "502: the certificate of the origin service is not trusted here." + known);
    case tunnel::kStreamOriginReset:
      return http_answer(502, "502: the origin service ended the connection without an answer.");
    default:
      return http_answer(502, "502: the origin service cannot be reached. Is it running?" + known);
  }
}

Bytes refusal_answer(tunnel::StreamKind kind, endpoint::AppCode code, std::string_view reason) {
  if (kind == tunnel::StreamKind::kPassthrough) return tls::alert_record(tls::Alert::kInternalError);
  const std::string known =
      reason.empty() ? std::string() : fmt::format(" The agent says of it: {}.", reason);
  switch (code) {
    case tunnel::kStreamOriginUnreachable:
      return http_answer(
          502,
          "502: the tunnel works, but its agent cannot reach the origin service. Is it running?" + known);
    case tunnel::kStreamOriginTimeout:
      return http_answer(
          504, "504: the tunnel works, but the origin service did not answer its agent in time." + known);
    case tunnel::kStreamOriginUntrusted:
      return http_answer(
          502, "502: the tunnel works, but its agent does not trust the certificate of the origin service." +
                   known);
    case tunnel::kStreamUnknownService:
      return http_answer(502,
                         "502: the tunnel's agent does not serve this name. Check the agent's services.");
    case tunnel::kStreamLimit:
      return stream_limit_answer();
    default:
      return http_answer(502, "502: the origin service ended the connection before it answered.");
  }
}

net::Task<> say_and_close(std::unique_ptr<net::ByteStream> socket, Bytes message) {
  // A message of one packet fits an idle socket's buffer, or the client is not reading at all.
  if (!message.empty()) {
    auto put = socket->try_write(message);
    if (put.status != net::IoStatus::kOk || put.bytes < message.size()) {
      socket->reset();
      co_return;
    }
  }
  socket->try_finish();
  // Closing with unread bytes makes the kernel send RST, which may overtake the message. So wait for the
  // client's end, by looking now and then: a client that keeps sending costs little.
  for (Duration pause = std::chrono::milliseconds(5); pause < std::chrono::seconds(1); pause *= 2) {
    if (drained(*socket)) break;
    co_await net::sleep_for(socket->loop(), pause);
  }
  socket->close();
}

}  // namespace culvert::edge
