// Clients that end a TLS connection without close_notify.
#include <gtest/gtest.h>

#include "net/testing.h"
#include "tls/openssl.h"
#include "tls/stream.h"
#include "tls/tls.h"

namespace culvert::tls {
namespace {

using namespace net::testing;

net::Task<> shake(Stream& client) {
  while (true) {
    const net::IoStatus status = client.try_handshake();
    if (status != net::IoStatus::kWantRead) {
      EXPECT_EQ(status, net::IoStatus::kOk);
      co_return;
    }
    co_await net::wait_ready(client.transport(), status, soon());
  }
}

// A connection whose server takes unclean ends of HTTP, and a client that offers this by ALPN.
struct Pair {
  Pair(net::EventLoop& loop, std::string_view alpn_wire) {
    net::testing::TcpPair tcp(loop);
    const SecretKey key = SecretKey::from_seed(Bytes(32, 1)).value();
    const IdentityPtr identity = self_signed_identity(key, "x.test", unix_now()).value();
    context = SslCtxPtr(SSL_CTX_new(TLS_client_method()));
    client = std::make_unique<Stream>(std::move(tcp.client), Bytes{}, context.get());
    SSL_set_connect_state(client->ssl());
    if (!alpn_wire.empty()) {
      SSL_set_alpn_protos(client->ssl(), reinterpret_cast<const uint8_t*>(alpn_wire.data()),
                          static_cast<unsigned>(alpn_wire.size()));
    }
    net::TaskGroup tasks(loop);
    std::optional<Result<std::unique_ptr<net::ByteStream>>> accepted;
    tasks.spawn(keep_result(accept(std::move(tcp.server), {}, identity, {"http/1.1", "http/1.0"}, soon(),
                                   NoCommonAlpn::kServeUnlessH2),
                            accepted));
    tasks.spawn(shake(*client));
    run_until(loop, [&] { return tasks.size() == 0; });
    server = std::move(*accepted).value();
    take_unclean_end_of_http(*server);
  }

  SslCtxPtr context;
  std::unique_ptr<Stream> client;
  std::unique_ptr<net::ByteStream> server;
};

TEST(UncleanEnd, OfHttpIsAnEndAndTheAnswerIsStillDelivered) {
  net::EventLoop loop;
  for (std::string_view alpn : {"\x08http/1.1", "\x08http/1.0"}) {
    Pair pair(loop, alpn);
    ASSERT_TRUE(run_task(loop, net::write_all(*pair.client, as_bytes("GET / HTTP/1.1\r\n\r\n"), soon())));
    ASSERT_EQ(pair.client->transport().try_finish().status, net::IoStatus::kOk);
    Bytes buffer(100);
    auto got = run_task(loop, net::read_some(*pair.server, buffer, soon()));
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, 18u);
    got = run_task(loop, net::read_some(*pair.server, buffer, soon()));
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(*got, 0u);
    ASSERT_TRUE(run_task(loop, net::write_all(*pair.server, as_bytes("200"), soon())));
    ASSERT_TRUE(run_task(loop, net::finish(*pair.server, soon())));
    got = run_task(loop, net::read_some(*pair.client, buffer, soon()));
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(*got, 3u);
  }
}

TEST(UncleanEnd, ByResetIsStillAnError) {
  net::EventLoop loop;
  Pair pair(loop, "\x08http/1.1");
  pair.client->reset();
  Bytes buffer(100);
  EXPECT_FALSE(run_task(loop, net::read_some(*pair.server, buffer, soon())));
}

// Of a protocol that is not known, the end may be what says that all has come.
TEST(UncleanEnd, WithoutAlpnIsStillAnError) {
  net::EventLoop loop;
  for (std::string_view alpn : {"", "\x03xyz"}) {
    Pair pair(loop, alpn);
    ASSERT_EQ(pair.client->transport().try_finish().status, net::IoStatus::kOk);
    Bytes buffer(100);
    auto got = run_task(loop, net::read_some(*pair.server, buffer, soon()));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kReset);
  }
}

}  // namespace
}  // namespace culvert::tls
