#include "tls/ticket_keys.h"

#include <gtest/gtest.h>

#include "net/tcp.h"
#include "tls/openssl.h"
#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;

TEST(TicketKeys, AKeyEncryptsForItsLifeAndDecryptsForAsLongAgain) {
  TicketKeys keys;
  SeededRandom random(1);
  const TimePoint start = TimePoint() + 100h;
  const auto first = keys.current(start, random);
  EXPECT_EQ(keys.current(start + TicketKeys::kLife - 1s, random).name, first.name);
  EXPECT_TRUE(keys.find(first.name, start + TicketKeys::kLife - 1s)->is_current);
  EXPECT_FALSE(keys.find(first.name, start + TicketKeys::kLife)->is_current)
      << "nobody has asked for another yet";
  const auto second = keys.current(start + TicketKeys::kLife, random);
  EXPECT_NE(second.name, first.name);
  EXPECT_NE(second.cipher, first.cipher);
  EXPECT_NE(second.mac, first.mac);
  EXPECT_FALSE(keys.find(first.name, start + 2 * TicketKeys::kLife - 1s)->is_current);
  EXPECT_EQ(keys.find(first.name, start + 2 * TicketKeys::kLife - 1s)->key.cipher, first.cipher);
  EXPECT_FALSE(keys.find(first.name, start + 2 * TicketKeys::kLife));
  EXPECT_TRUE(keys.find(second.name, start + 2 * TicketKeys::kLife));
  EXPECT_FALSE(keys.find(TicketKeys().current(start, random).name, start)) << "of another context";
}

// A client of OpenSSL's that shows the session of its last connection.
class ResumingClient {
 public:
  explicit ResumingClient(int version) : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) {
      auto* self = static_cast<ResumingClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(std::exchange(self->session_, session));
      return 1;
    });
  }
  ~ResumingClient() { SSL_SESSION_free(session_); }

  // Whether the server resumed. It has said "hi" when this returns, so that its tickets have come.
  bool connect(SocketAddr to) {
    const SslPtr ssl(SSL_new(context_.get()));
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage storage;
    const socklen_t length = to.to_sockaddr(storage);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&storage), length), 0);
    SSL_set_fd(ssl.get(), fd);
    if (session_ != nullptr) SSL_set_session(ssl.get(), session_);
    EXPECT_EQ(SSL_connect(ssl.get()), 1);
    char hi[2];
    EXPECT_EQ(SSL_read(ssl.get(), hi, 2), 2);
    const bool resumed = SSL_session_reused(ssl.get()) == 1;
    SSL_shutdown(ssl.get());
    ::close(fd);
    return resumed;
  }

 private:
  SslCtxPtr context_;
  SSL_SESSION* session_ = nullptr;
};

TEST(Tickets, ASessionIsResumedOnAnyLoopAndNotWithAnotherIdentity) {
  const SecretKey key = test_key(1);
  const IdentityPtr identity = self_signed(key);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ResumingClient client(version);
    // Each connection is taken by a loop of its own, as by another worker.
    const auto is_resumed = [&](IdentityPtr with) {
      net::EventLoop loop;
      auto listener = net::TcpListener::listen(loop, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
      bool resumed = false;
      std::thread thread([&, to = listener->local_addr()] { resumed = client.connect(to); });
      auto socket = run_task(loop, listener->accept()).value();
      auto tls = run_task(loop, accept(std::move(socket), {}, std::move(with), {}, soon()));
      EXPECT_TRUE(tls);
      if (tls) {
        EXPECT_TRUE(run_task(loop, net::write_all(**tls, as_bytes("hi"), soon())));
        Bytes end(1);
        EXPECT_TRUE(run_task(loop, net::read_some(**tls, end, soon())));
        (*tls)->close();
      }
      thread.join();
      return resumed;
    };
    EXPECT_FALSE(is_resumed(identity));
    EXPECT_TRUE(is_resumed(identity));
    EXPECT_TRUE(is_resumed(identity)) << "with the ticket that came with the resumption";
    EXPECT_FALSE(is_resumed(self_signed(test_key(2))));
    EXPECT_FALSE(is_resumed(identity)) << "which gave it another";
    EXPECT_TRUE(is_resumed(identity));
  }
}

}  // namespace
}  // namespace culvert::tls
