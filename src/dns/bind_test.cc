// The update client beside BIND, Debian's package bind9.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "dns/process_fixture.h"
#include "dns/testing.h"
#include "dns/update_client.h"
#include "net/network_watch.h"
#include "net/packet_io.h"
#include "net/testing.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using ::testing::HasSubstr;
using testing::name;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

constexpr const char* kNamed = "/usr/sbin/named";
constexpr const char* kSecret = "c2VjcmV0LW9mLTMyLWJ5dGVzLWZvci10c2lnLXRlc3Q=";
constexpr const char* kOtherSecret = "b3RoZXItb2YtMzItYnl0ZXMtZm9yLXRzaWctdGVzdDE=";

// The system with another date.
class ShiftedPlatform final : public net::Platform {
 public:
  explicit ShiftedPlatform(std::chrono::seconds shift) : shift_(shift) {}
  TimePoint now() const override { return system_.now(); }
  UnixTime unix_now() const override { return system_.unix_now() + shift_; }
  Random& random() override { return system_.random(); }
  Result<std::unique_ptr<net::TcpListener>> listen_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                       const net::ListenOptions& options) override {
    return system_.listen_tcp(loop, address, options);
  }
  std::unique_ptr<net::ConnectAttempt> connect_tcp(net::EventLoop& loop, const SocketAddr& address,
                                                   const net::ConnectOptions& options,
                                                   std::shared_ptr<net::Notify> changed) override {
    return system_.connect_tcp(loop, address, options, std::move(changed));
  }
  Result<std::unique_ptr<net::ByteStream>> connect_unix(net::EventLoop& loop,
                                                        const std::string& path) override {
    return system_.connect_unix(loop, path);
  }
  Result<std::unique_ptr<net::PacketIo>> bind_udp(net::EventLoop& loop, const SocketAddr& address,
                                                  const net::UdpOptions& options) override {
    return system_.bind_udp(loop, address, options);
  }
  Result<std::unique_ptr<net::NetworkWatch>> watch_network(net::EventLoop& loop,
                                                           std::function<void()> on_change) override {
    return system_.watch_network(loop, std::move(on_change));
  }
  Result<SocketAddr> source_address_for(const SocketAddr& remote) override {
    return system_.source_address_for(remote);
  }
  std::optional<size_t> path_mtu(const SocketAddr& remote) override { return system_.path_mtu(remote); }

 private:
  net::Platform& system_ = net::system_platform();
  const std::chrono::seconds shift_;
};

// A server of BIND on loopback with two zones, in a directory of its own.
struct BindTest : ::testing::Test {
  void SetUp() override {
    if (!std::filesystem::exists(kNamed)) GTEST_SKIP() << "Debian's package bind9 is not installed";
    directory = testing::make_directory(::testing::TempDir() + "bind-");
    // Free for both, unless another test takes it meanwhile.
    port = net::TcpListener::listen(loop, net::testing::addr("127.0.0.1:0"), {}).value()->local_addr().port();
    write_files();
    named = std::make_unique<testing::ServerProcess>(
        directory,
        std::vector<std::string>{kNamed, "-g", "-n", "1", "-c", (directory / "named.conf").native()});
    bool is_ready = false;
    for (int i = 0; i < 100 && !is_ready && !named->has_ended(); ++i) is_ready = answers();
    if (named->has_ended() && named->log().find("permission denied") != std::string::npos)
      GTEST_SKIP() << "this system (AppArmor?) lets named not read " << directory;
    ASSERT_TRUE(is_ready) << named->log();
  }
  void TearDown() override {
    named.reset();
    if (!directory.empty()) std::filesystem::remove_all(directory);
  }

  void write_files() const {
    std::ofstream(directory / "named.conf")
        << "options { directory " << directory << "; listen-on port " << port
        << " { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no; "
           "dnssec-validation no; };\n"
           "controls { };\n"
           "key culvert { algorithm hmac-sha256; secret \""
        << kSecret << "\"; };\n"
        << "key culvert-512 { algorithm hmac-sha512; secret \"" << kSecret << "\"; };\n"
        << "zone \"example.net\" { type primary; file \"example.net\"; update-policy {"
           " grant culvert name _acme-challenge.example.net TXT; grant culvert-512 zonesub TXT; }; };\n"
           "zone \"guarded.example.net\" { type primary; file \"guarded.example.net\"; };\n";
    for (const char* zone : {"example.net", "guarded.example.net"}) {
      std::ofstream(directory / zone)
          << "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n"
             "_acme-challenge.alias CNAME elsewhere.example.org.\n*.wild CNAME elsewhere.example.org.\n";
    }
  }

  SocketAddr address() const { return SocketAddr::v4({127, 0, 0, 1}, port); }

  bool answers() {
    const auto answer = run_task(
        loop,
        exchange(loop, address(), encode(testing::query("example.net", Type::kSoa)), loop.now() + 200ms));
    return answer && answer->message.header.rcode == Rcode::kNoError;
  }

  std::vector<std::string> values(std::string_view of) {
    const auto answer = run_task(
        loop, exchange(loop, address(), encode(testing::query(of, Type::kTxt)), net::testing::soon()));
    std::vector<std::string> out;
    for (const Record& record : answer.value().message.answers)
      out.push_back(std::get<Txt>(record.data).strings.at(0));
    return out;
  }

  UpdateOptions options(std::string_view key = "culvert", std::string_view algorithm = "hmac-sha256",
                        std::string_view secret = kSecret) const {
    return {.server = {"127.0.0.1", port}, .key = make_tsig_key(key, algorithm, secret).value()};
  }
  Result<> put(UpdateOptions with, std::string_view where = "_acme-challenge.example.net",
               net::EventLoop* on = nullptr) {
    net::EventLoop& used = on ? *on : loop;
    UpdateClient client(used, std::move(with));
    return run_task(used, client.put(name(where), "value"));
  }
  void expect_refused(const Result<>& result, ErrorCode code, const char* text) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(text));
  }

  net::EventLoop loop;
  std::filesystem::path directory;
  uint16_t port = 0;
  std::unique_ptr<testing::ServerProcess> named;
};

TEST_F(BindTest, ValuesComeAndGo) {
  constexpr const char* kName = "_acme-challenge.example.net";
  UpdateClient client(loop, options());
  ASSERT_TRUE(run_task(loop, client.put(name(kName), "one")));
  ASSERT_TRUE(run_task(loop, client.put(name(kName), "two")));
  ASSERT_TRUE(run_task(loop, client.put(name(kName), "two")));
  EXPECT_THAT(values(kName), UnorderedElementsAre("one", "two"));
  ASSERT_TRUE(run_task(loop, client.remove(name(kName), "one")));
  ASSERT_TRUE(run_task(loop, client.remove(name(kName), "one")));
  EXPECT_THAT(values(kName), UnorderedElementsAre("two"));
  ASSERT_TRUE(run_task(loop, client.remove(name(kName), "two")));
  EXPECT_TRUE(values(kName).empty());
}

TEST_F(BindTest, OtherAlgorithmsAndNamesBelow) {
  const auto done = put(options("culvert-512", "hmac-sha512"), "_acme-challenge.a.b.example.net");
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_THAT(values("_acme-challenge.a.b.example.net"), UnorderedElementsAre("value"));
}

TEST_F(BindTest, AWildcardYieldsToAValue) {
  const auto done = put(options("culvert-512", "hmac-sha512"), "_acme-challenge.app.wild.example.net");
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_THAT(values("_acme-challenge.app.wild.example.net"), UnorderedElementsAre("value"));
}

TEST_F(BindTest, EveryRefusalIsUnderstood) {
  expect_refused(put(options("other")), ErrorCode::kUnauthorized, "does not know the TSIG key \"other\"");
  expect_refused(put(options("culvert", "hmac-sha384")), ErrorCode::kUnauthorized, "(BADKEY)");
  expect_refused(put(options("culvert", "hmac-sha256", kOtherSecret)), ErrorCode::kUnauthorized, "(BADSIG)");
  expect_refused(put(options(), "www.example.net"), ErrorCode::kUnauthorized,
                 "grant the TSIG key \"culvert\" TXT");
  expect_refused(put(options(), "_acme-challenge.guarded.example.net"), ErrorCode::kUnauthorized,
                 "refuses to change the zone guarded.example.net");
  expect_refused(put(options(), "_acme-challenge.example.org"), ErrorCode::kInvalid, "not authoritative");
  expect_refused(put(options("culvert-512", "hmac-sha512"), "_acme-challenge.alias.example.net"),
                 ErrorCode::kInvalid, "_acme-challenge.alias.example.net is an alias");
  UpdateOptions elsewhere = options();
  elsewhere.zone = name("org");
  expect_refused(put(elsewhere, "_acme-challenge.example.org"), ErrorCode::kInvalid, "(NOTAUTH)");
  UpdateOptions without_key = options();
  without_key.key.reset();
  expect_refused(put(without_key), ErrorCode::kUnauthorized, "give a TSIG key");
}

TEST_F(BindTest, ClocksThatDifferAreNamed) {
  for (const auto shift : {-3600s, 3600s}) {
    ShiftedPlatform platform(shift);
    net::EventLoop shifted(platform);
    const auto refused = put(options(), "_acme-challenge.example.net", &shifted);
    expect_refused(refused, ErrorCode::kUnauthorized, "(BADTIME)");
    EXPECT_THAT(refused.error().message,
                HasSubstr(shift > 0s ? "s ahead of the server's" : "s behind the server's"));
  }
}

}  // namespace
}  // namespace culvert::dns
