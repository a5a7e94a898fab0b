// What a TCP stream learns of a peer that is silent or gone, and where listeners are by default.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp_stream.h"
#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(fd, level, name, &value, &length), 0);
  return value;
}

TEST(TcpPeer, ASilentPeerIsAskedForASignOfLife) {
  EventLoop loop;
  TcpPair pair(loop);
  for (ByteStream* stream : {pair.client.get(), pair.server.get()}) {
    const int fd = dynamic_cast<TcpStream&>(*stream).fd();
    EXPECT_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    const int probes = option(fd, IPPROTO_TCP, TCP_KEEPCNT);
    const int silence =
        option(fd, IPPROTO_TCP, TCP_KEEPIDLE) + probes * option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    EXPECT_EQ(silence, 120) << "as net/tcp.h says";
    EXPECT_GE(probes, 3) << "a lost packet or two are no death";
  }
}

TEST(TcpPeer, AnEndIsSeenBehindBytesThatWereNotRead) {
  EventLoop loop;
  for (bool abrupt : {false, true}) {
    TcpPair pair(loop);
    EXPECT_FALSE(pair.server->peer_has_ended());
    ASSERT_EQ(pair.client->try_write(as_bytes("unread")).status, IoStatus::kOk);
    drain(loop);
    EXPECT_FALSE(pair.server->peer_has_ended());
    if (abrupt) {
      pair.client->reset();
    } else {
      ASSERT_EQ(pair.client->try_finish().status, IoStatus::kOk);
    }
    run_until(loop, [&] { return pair.server->peer_has_ended(); });
    pair.server->close();
    EXPECT_FALSE(pair.server->peer_has_ended()) << "nothing is known of a closed one";
  }
}

TEST(EveryAddress, IsIPv6WhereTheHostHasIt) {
  const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const SocketAddr address = every_address(443);
  EXPECT_TRUE(address.is_unspecified());
  EXPECT_EQ(address.port(), 443);
  EXPECT_EQ(address.is_v4(), fd < 0);
  if (fd >= 0) ::close(fd);
}

}  // namespace
}  // namespace culvert::net
