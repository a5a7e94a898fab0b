#include <cstdlib>

#include "net/byte_stream.h"
#include "tls/tls.h"

using namespace culvert;

namespace {

// One end of a connection in memory: reads what `in` has, writes to `out`, and ends where `ends` says so.
struct Pipe {
  Bytes bytes;
  size_t taken = 0;
  bool ended = false;
};

class MemoryStream final : public net::ByteStream {
 public:
  MemoryStream(net::EventLoop& loop, Pipe& in, Pipe& out) : loop_(loop), in_(in), out_(out) {}

  net::IoResult try_read(MutableBytes into) override {
    if (!open_) return {net::IoStatus::kError};
    const size_t count = std::min(into.size(), in_.bytes.size() - in_.taken);
    if (count == 0) return {in_.ended ? net::IoStatus::kEof : net::IoStatus::kWantRead};
    std::copy_n(in_.bytes.begin() + static_cast<ptrdiff_t>(in_.taken), count, into.begin());
    in_.taken += count;
    return {net::IoStatus::kOk, count};
  }
  net::IoResult try_write(std::span<const ByteView> from) override {
    if (!open_) return {net::IoStatus::kError};
    size_t count = 0;
    for (ByteView part : from) {
      out_.bytes.insert(out_.bytes.end(), part.begin(), part.end());
      count += part.size();
    }
    return {net::IoStatus::kOk, count};
  }
  net::IoResult try_finish() override {
    out_.ended = true;
    return {net::IoStatus::kOk};
  }
  void when_readable(net::ReadyCallback callback) override { loop_.post(std::move(callback)); }
  void when_writable(net::ReadyCallback callback) override { loop_.post(std::move(callback)); }
  void soon_readable(net::ReadyCallback callback) override { loop_.post(std::move(callback)); }
  void cancel() override {}
  void leave_loop() override {}
  void join_loop(net::EventLoop&) override {}
  void close() override {
    open_ = false;
    out_.ended = true;
  }
  void reset() override { close(); }
  bool is_open() const override { return open_; }
  bool peer_has_ended() const override { return in_.ended; }
  SocketAddr local_addr() const override { return SocketAddr::v4({127, 0, 0, 1}, 1); }
  SocketAddr remote_addr() const override { return SocketAddr::v4({127, 0, 0, 1}, 2); }
  std::string last_error() const override { return "closed"; }
  net::EventLoop& loop() override { return loop_; }

 private:
  net::EventLoop& loop_;
  Pipe& in_;
  Pipe& out_;
  bool open_ = true;
};

using StreamPtr = std::unique_ptr<net::ByteStream>;

const SecretKey& key() {
  static const SecretKey kKey = SecretKey::from_seed(Bytes(SecretKey::kSize, 1)).value();
  return kKey;
}
const tls::IdentityPtr& identity() {
  static const tls::IdentityPtr kIdentity = tls::self_signed_identity(key(), "x.test", unix_now()).value();
  return kIdentity;
}

TimePoint deadline() { return monotonic_now() + std::chrono::hours(1); }

net::Task<> accept(StreamPtr transport, Bytes received, StreamPtr& out) {
  auto stream =
      co_await tls::accept(std::move(transport), std::move(received), identity(), {"http/1.1"}, deadline());
  if (stream) out = std::move(*stream);
}
net::Task<> connect(StreamPtr transport, StreamPtr& out) {
  tls::ClientTrust trust{.pinned_key = key().public_key(), .root_pem = {}};
  auto stream = co_await tls::connect(std::move(transport), "x.test", std::move(trust), deadline());
  if (stream) out = std::move(*stream);
}

// Nothing that a peer without keys sends may become plaintext.
void expect_no_plaintext(net::ByteStream& stream) {
  Bytes buffer(20'000);
  for (int reads = 0; reads < 100; ++reads) {
    const net::IoResult got = stream.try_read(buffer);
    if (got.status == net::IoStatus::kOk || got.status == net::IoStatus::kEof) std::abort();
    if (got.status == net::IoStatus::kError) break;
  }
  (void)stream.try_write(as_bytes("answer"));
  (void)stream.try_finish();
  stream.close();
}

void run(net::EventLoop& loop, net::TaskGroup& tasks) {
  while (tasks.size() > 0) loop.run_once(deadline());
}

}  // namespace

// The first byte chooses who meets the hostile bytes: a server, one that was handed the bytes as its hello, a
// client, or a server after a good handshake.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ByteView hostile(data + 1, size - 1);
  net::EventLoop loop;
  net::TaskGroup tasks(loop);
  Pipe up, down;
  StreamPtr server, client;
  switch (data[0] % 4) {
    case 0:
      up = {to_bytes(hostile), 0, true};
      tasks.spawn(accept(std::make_unique<MemoryStream>(loop, up, down), {}, server));
      run(loop, tasks);
      break;
    case 1:
      up.ended = true;
      tasks.spawn(accept(std::make_unique<MemoryStream>(loop, up, down), to_bytes(hostile), server));
      run(loop, tasks);
      break;
    case 2:
      down = {to_bytes(hostile), 0, true};
      tasks.spawn(connect(std::make_unique<MemoryStream>(loop, down, up), client));
      run(loop, tasks);
      break;
    default:
      tasks.spawn(accept(std::make_unique<MemoryStream>(loop, up, down), {}, server));
      tasks.spawn(connect(std::make_unique<MemoryStream>(loop, down, up), client));
      run(loop, tasks);
      if (!server || !client) std::abort();
      up.bytes.insert(up.bytes.end(), hostile.begin(), hostile.end());
      up.ended = true;
      expect_no_plaintext(*server);
      server.reset();
      break;
  }
  // A handshake cannot be completed without its secrets.
  if (server) std::abort();
  if (data[0] % 4 == 2 && client) std::abort();
  return 0;
}
