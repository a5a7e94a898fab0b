#include "ops/server.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "http/client.h"
#include "net/testing.h"

namespace culvert::ops {
namespace {

using namespace net::testing;
using ::testing::HasSubstr;

class OpsServer : public ::testing::Test {
 protected:
  OpsServer() { start(addr("127.0.0.1:0")); }
  ~OpsServer() override { stop(); }

  void start(const SocketAddr& address) {
    auto server = Server::listen(loop_, address,
                                 {.metrics = [this] { return metrics(); },
                                  .health = [this] { return faults(health_); },
                                  .readiness = [this] { return faults(ready_); },
                                  .status = [] { return status(); },
                                  .degradation = [this] { return degradation_; }});
    server_ = std::move(server.value());
  }
  void stop() {
    if (!server_) return;
    run_task(loop_, finish());
    server_.reset();
  }
  net::Task<bool> finish() {
    co_await server_->stop();
    co_return true;
  }
  static net::Task<std::string> status() { co_return R"({"status":"ready"})"; }
  net::Task<Metrics> metrics() {
    Metrics out;
    out.counter("culvert_things_total", "Things.", 3);
    co_return out;
  }
  net::Task<Faults> faults(Faults what) { co_return what; }

  std::unique_ptr<net::ByteStream> connect() {
    return run_task(loop_, net::tcp_connect(loop_, server_->local_addr(), soon())).value();
  }
  http::Response get(std::string target, std::string method = "GET") {
    auto stream = connect();
    return run_task(loop_,
                    http::fetch(
                        *stream, "test",
                        {.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}},
                        soon()))
        .value();
  }

  net::EventLoop loop_;
  Faults health_, ready_, degradation_;
  std::unique_ptr<Server> server_;
};

TEST_F(OpsServer, MetricsAreInTheFormatOfPrometheus) {
  const auto response = get("/metrics?x=1");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(*response.headers.find("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(
      response.body,
      "# HELP culvert_things_total Things.\n# TYPE culvert_things_total counter\nculvert_things_total 3\n");
}

TEST_F(OpsServer, HealthAndReadinessAreSeparateAndSayWhy) {
  EXPECT_EQ(get("/healthz").body, "ok\n");
  EXPECT_EQ(get("/readyz").status, 200);
  ready_ = {"no lease: the hub does not answer", "no edge is connected"};
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/readyz").body, "no lease: the hub does not answer\nno edge is connected\n");
  health_ = {"worker 1 does not answer"};
  EXPECT_EQ(get("/healthz").status, 503);
}

TEST_F(OpsServer, ADegradedProcessIsReadyAndSaysWhatFails) {
  degradation_ = {"the hub's database is full"};
  EXPECT_EQ(get("/readyz").status, 200);
  EXPECT_EQ(get("/readyz").body, "ok\ndegraded: the hub's database is full\n");
  EXPECT_EQ(get("/healthz").body, "ok\n");
}

TEST_F(OpsServer, OtherPathsAndMethodsAreRefused) {
  EXPECT_EQ(get("/").status, 404);
  EXPECT_THAT(get("/metrics/x").body, HasSubstr("/healthz"));
  const auto response = get("/metrics", "POST");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(*response.headers.find("allow"), "GET");
}

TEST_F(OpsServer, SilentClientsDoNotTakeEveryPlaceForEver) {
  std::vector<std::unique_ptr<net::ByteStream>> silent;
  for (size_t i = 0; i < Server::kMaxConnections; ++i) silent.push_back(connect());
  drain(loop_);
  auto refused = connect();
  std::array<uint8_t, 1> byte;
  net::Reader reader(*refused);
  EXPECT_FALSE(run_task(loop_, reader.read_some(byte, soon())).has_value());  // reset
  silent.pop_back();
  drain(loop_);
  EXPECT_EQ(get("/healthz").status, 200);
}

// The descriptor of the socket that listens on `port`.
int listening_socket(uint16_t port) {
  for (int fd = 3; fd < 1024; ++fd) {
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_in address{};
    size = sizeof(address);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
        ntohs(address.sin_port) == port) {
      return fd;
    }
  }
  return -1;
}

TEST_F(OpsServer, GoesOnAfterAcceptHasFailed) {
  const SocketAddr address = server_->local_addr();
  stop();
  start(address);  // a port that was asked for stays bound when its socket stops to listen
  const int fd = listening_socket(address.port());
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::shutdown(fd, SHUT_RD), 0);
  drain(loop_);  // accept fails
  ASSERT_EQ(::listen(fd, 16), 0);
  EXPECT_EQ(get("/healthz").body, "ok\n");
}

TEST_F(OpsServer, StopsWhileClientsAreConnected) {
  auto silent = connect();
  drain(loop_);
  stop();
  std::array<uint8_t, 1> byte;
  net::Reader reader(*silent);
  const auto got = run_task(loop_, reader.read_some(byte, soon()));
  EXPECT_TRUE(!got || *got == 0);
}

}  // namespace
}  // namespace culvert::ops
