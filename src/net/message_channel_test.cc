#include "net/message_channel.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "net/service_manager.h"
#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;
namespace fs = std::filesystem;

class Channels : public ::testing::Test {
 protected:
  Channels() {
    std::string name = ::testing::TempDir() + "culvert-channel-XXXXXX";
    // Longer than a sockaddr_un has room for.
    directory_ = fs::path(::mkdtemp(name.data())) / std::string(120, 'd');
    fs::create_directory(directory_);
  }
  ~Channels() override { fs::remove_all(directory_.parent_path()); }

  fs::path path() const { return directory_ / "socket"; }
  static ChannelMessage text(std::string_view data) { return {to_bytes(as_bytes(data)), {}}; }

  EventLoop loop_;
  fs::path directory_;
};

TEST_F(Channels, MessagesStayWholeAndBringDescriptors) {
  auto listener = MessageListener::listen(loop_, path()).value();
  struct stat status{};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  auto client = MessageChannel::connect(loop_, path()).value();
  auto server = run_task(loop_, listener->accept()).value();
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe(ends.data()), 0);
  Descriptor reading(ends[0]);
  ChannelMessage with_pipe = text("second");
  with_pipe.descriptors.emplace_back(ends[1]);
  EXPECT_TRUE(client->send(text("first")));
  EXPECT_TRUE(client->send(with_pipe));
  with_pipe.descriptors.clear();
  auto first = run_task(loop_, server->receive(soon()));
  auto second = run_task(loop_, server->receive(soon()));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(as_text(first->data), "first");
  EXPECT_TRUE(first->descriptors.empty());
  EXPECT_EQ(as_text(second->data), "second");
  ASSERT_EQ(second->descriptors.size(), 1u);
  EXPECT_EQ(::write(second->descriptors[0].get(), "x", 1), 1);
  char got = 0;
  EXPECT_EQ(::read(reading.get(), &got, 1), 1);
  EXPECT_EQ(got, 'x');
}

TEST_F(Channels, ADuplicateOutlivesItsChannel) {
  auto listener = MessageListener::listen(loop_, path()).value();
  auto client = MessageChannel::connect(loop_, path()).value();
  auto server = run_task(loop_, listener->accept()).value();
  auto copy = std::make_unique<MessageChannel>(loop_, client->duplicate().value());
  client.reset();
  EXPECT_TRUE(copy->send(text("still here")));
  EXPECT_TRUE(run_task(loop_, server->receive(soon())));
  EXPECT_EQ(run_task(loop_, server->receive(loop_.now() + 10ms)).error().code, ErrorCode::kTimeout);
  copy.reset();
  EXPECT_EQ(run_task(loop_, server->receive(soon())).error().code, ErrorCode::kClosed);
  EXPECT_EQ(server->send(text("nobody")).error().code, ErrorCode::kClosed);
}

TEST_F(Channels, AMessageThatIsTooLongIsNotTaken) {
  std::array<int, 2> ends;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  Descriptor other(ends[0]);
  MessageChannel channel(loop_, Descriptor(ends[1]));
  const Bytes longest(kMaxChannelMessage, 'x'), longer(kMaxChannelMessage + 1, 'x');
  ASSERT_EQ(::send(other.get(), longest.data(), longest.size(), 0), static_cast<ssize_t>(longest.size()));
  EXPECT_EQ(run_task(loop_, channel.receive(soon())).value().data.size(), longest.size());
  ASSERT_EQ(::send(other.get(), longer.data(), longer.size(), 0), static_cast<ssize_t>(longer.size()));
  EXPECT_EQ(run_task(loop_, channel.receive(soon())).error().code, ErrorCode::kInvalid);
}

TEST_F(Channels, AReaderThatDoesNotReadIsToldOf) {
  std::array<int, 2> ends;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  Descriptor other(ends[0]);
  MessageChannel channel(loop_, Descriptor(ends[1]));
  Result<> sent;
  for (int i = 0; i < 10'000 && sent; ++i) sent = channel.send(text(std::string(1000, 'x')));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kLimit);
}

TEST_F(Channels, AListenerTakesThePlaceOfAnother) {
  EXPECT_EQ(MessageChannel::connect(loop_, path()).error().code, ErrorCode::kNotFound);
  std::ofstream(path()) << "left by something";
  auto first = MessageListener::listen(loop_, path()).value();
  auto second = MessageListener::listen(loop_, path()).value();
  auto client = MessageChannel::connect(loop_, path()).value();
  EXPECT_TRUE(run_task(loop_, second->accept()));
  second.reset();
  EXPECT_EQ(MessageChannel::connect(loop_, path()).error().code, ErrorCode::kNotFound) << "nobody listens";
  EXPECT_FALSE(MessageListener::listen(loop_, directory_ / "no" / "such"));
}

TEST_F(Channels, ServiceManagersAreToldOnce) {
  const std::string name = (directory_.parent_path() / "notify").string();
  const Descriptor manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(name.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, name.data(), name.size());
  ASSERT_EQ(::bind(manager.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(notify_service_manager(name, "READY=1"));
  std::array<char, 64> text{};
  EXPECT_EQ(::recv(manager.get(), text.data(), text.size(), 0), 7);
  EXPECT_STREQ(text.data(), "READY=1");
  EXPECT_EQ(notify_service_manager(name + "x", "READY=1").error().code, ErrorCode::kIo);
  EXPECT_EQ(notify_service_manager("relative", "READY=1").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(notify_service_manager(std::string(200, '/'), "READY=1").error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace culvert::net
