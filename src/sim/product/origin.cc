#include "sim/product/origin.h"

#include <array>

namespace culvert::sim {
namespace {

constexpr std::string_view kHttpAnswer =
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
constexpr Duration kPatience = std::chrono::hours(2);

}  // namespace

Origin::Origin(net::EventLoop& loop, route::TlsMode mode, const SecretKey& key)
    : loop_(loop),
      listener_(net::TcpListener::listen(loop, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value()),
      tasks_(loop) {
  if (mode == route::TlsMode::kPassthrough)
    identity_ = tls::self_signed_identity(key, "origin", loop.unix_now()).value();
  tasks_.spawn(accept_all());
}

void Origin::stop() {
  is_stopping_ = true;
  listener_->close();
  const auto open = open_;
  for (net::ByteStream* stream : open) stream->reset();
}

net::Task<> Origin::accept_all() {
  while (true) {
    auto accepted = co_await listener_->accept();
    if (!accepted) co_return;
    tasks_.spawn(serve(std::move(*accepted)));
  }
}

net::Task<> Origin::serve(std::unique_ptr<net::ByteStream> socket) {
  if (identity_) {
    auto stream =
        co_await tls::accept(std::move(socket), {}, identity_, {}, loop_.now() + std::chrono::seconds(30));
    if (!stream) co_return;
    socket = std::move(*stream);
  }
  if (is_stopping_) co_return socket->reset();
  open_.insert(socket.get());
  co_await echo(*socket);
  open_.erase(socket.get());
}

net::Task<> Origin::echo(net::ByteStream& stream) {
  std::array<uint8_t, 16 * 1024> chunk;
  bool is_first = true;
  while (true) {
    auto got = co_await net::read_some(stream, chunk, loop_.now() + kPatience);
    if (!got) co_return stream.reset();
    ByteView answer = ByteView(chunk).first(*got);
    const bool begins = std::exchange(is_first, false) && !answer.empty();
    const bool is_http = begins && as_text(answer).starts_with("GET ");
    if (is_http) answer = as_bytes(kHttpAnswer);
    if (begins && !is_http) ++echoes_;
    if (!answer.empty()) {
      auto written = co_await net::write_all(stream, answer, loop_.now() + kPatience);
      if (!written) co_return stream.reset();
    }
    if (is_http || *got == 0) break;
  }
  auto finished = co_await net::finish(stream, loop_.now() + kPatience);
  if (!finished) stream.reset();
  stream.close();
}

}  // namespace culvert::sim
