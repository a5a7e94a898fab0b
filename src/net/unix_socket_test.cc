#include "net/unix_socket.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "net/testing.h"
#include "net/unix_fixture.h"

namespace culvert::net {
namespace {

using namespace std::chrono_literals;
using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

class UnixSocket : public ::testing::Test {
 protected:
  UnixSocket() {
    std::string name = ::testing::TempDir() + "culvert-unix-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    path_ = directory_ + "/app.sock";
  }
  ~UnixSocket() override {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }
  Result<std::unique_ptr<ByteStream>> connect(const std::string& path, Duration patience = 20s) {
    return run_task(loop_, unix_connect(loop_, path, loop_.now() + patience));
  }
  void expect_echo(UnixServer& server, ByteStream& client) {
    const Descriptor peer = server.accept();
    EXPECT_TRUE(run_task(loop_, write_all(client, as_bytes("ping"), soon())));
    char text[8] = {};
    EXPECT_EQ(::read(peer.get(), text, sizeof text), 4);
    EXPECT_EQ(::write(peer.get(), text, 4), 4);
    EXPECT_TRUE(run_task(loop_, finish(client, soon())));
    EXPECT_EQ(::read(peer.get(), text, sizeof text), 0);
    ::shutdown(peer.get(), SHUT_WR);
    Received received;
    TaskGroup tasks(loop_);
    tasks.spawn(read_all(client, received));
    run_until(loop_, [&] { return received.ended(); });
    EXPECT_EQ(received.text(), "ping");
    EXPECT_TRUE(received.clean);
  }

  EventLoop loop_;
  std::string directory_, path_;
};

TEST_F(UnixSocket, CarriesBytesAndBothEnds) {
  UnixServer server(path_);
  auto client = connect(path_);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ((*client)->peer_text(), "unix:" + path_);
  EXPECT_EQ((*client)->remote_addr(), SocketAddr());
  EXPECT_EQ((*client)->local_addr(), SocketAddr());
  expect_echo(server, **client);
}

TEST_F(UnixSocket, ReachesTheAbstractNamespace) {
  const std::string name = "@" + directory_;
  UnixServer server(name);
  auto client = connect(name);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ((*client)->peer_text(), "unix:" + name);
  expect_echo(server, **client);
}

TEST_F(UnixSocket, FailuresNameThePathAndTheReason) {
  auto missing = connect(path_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, AllOf(HasSubstr("unix:" + path_), HasSubstr("no such file")));

  UnixServer server(path_);
  server.close();
  auto refused = connect(path_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("no program listens there"));
  ::unlink(path_.c_str());

  UnixServer datagrams(path_, SOCK_DGRAM);
  auto other_kind = connect(path_);
  ASSERT_FALSE(other_kind);
  EXPECT_THAT(other_kind.error().message, HasSubstr("not a stream socket"));
  ::unlink(path_.c_str());

  auto too_long = connect(std::string(kMaxUnixPath + 1, 'x'));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalid);
  EXPECT_FALSE(connect(""));
}

TEST_F(UnixSocket, AUserWhoMayNotWriteIsToldSo) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  UnixServer server(path_);
  ASSERT_EQ(::chmod(path_.c_str(), 0), 0);
  auto refused = connect(path_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnauthorized);
}

TEST_F(UnixSocket, WaitsForRoomInAFullQueue) {
  UnixServer server(path_, SOCK_STREAM, 0);
  auto first = connect(path_);
  ASSERT_TRUE(first);
  auto none = connect(path_, 50ms);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(none.error().message, HasSubstr("queue of connections is full"));

  TaskGroup tasks(loop_);
  std::optional<Result<std::unique_ptr<ByteStream>>> second;
  tasks.spawn(keep_result(unix_connect(loop_, path_, soon()), second));
  drain(loop_);
  EXPECT_FALSE(second);
  server.accept();
  run_until(loop_, [&] { return second.has_value(); });
  EXPECT_TRUE(*second);
}

}  // namespace
}  // namespace culvert::net
