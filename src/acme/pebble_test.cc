#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "acme/challenged_host_fixture.h"
#include "acme/manager.h"
#include "base/encoding.h"
#include "tls/csr_fixture.h"

// The client against another's server: pebble, Let's Encrypt's test CA (Debian package pebble), which refuses
// nonces at random and looks at challenges in all three ways. Skipped where it is not installed.
namespace culvert::acme {
namespace {

namespace fs = std::filesystem;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace std::chrono_literals;

// CULVERT_PEBBLE: another one than Debian's, which may know more.
const char* pebble_path() {
  const char* given = std::getenv("CULVERT_PEBBLE");
  return given != nullptr ? given : "/usr/bin/pebble";
}

constexpr const char* kMacKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

uint16_t free_port() {
  net::EventLoop loop;
  return net::TcpListener::listen(loop, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value()->local_addr().port();
}

struct PebbleOptions {
  bool wants_external_account = false;
  std::string reused_authorizations = "0";  // percent
};

// One process, in a directory of its own.
class Pebble {
 public:
  Pebble(uint16_t http_port, uint16_t tls_port, std::string name_server, PebbleOptions options)
      : options_(std::move(options)), name_server_(std::move(name_server)) {
    std::string name = (fs::temp_directory_path() / "culvert-pebble-XXXXXX").native();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    const tls::P256Key key = tls::P256Key::generate();
    const Bytes request = tls::certificate_request(key, {"localhost"}).value();
    write("cert.pem", signer_.issue(request, unix_now() - 1h, unix_now() + 24h));
    write("key.pem", key.to_pem().expose());
    write("config.json", fmt::format(R"({{"pebble":{{"listenAddress":"127.0.0.1:{}",
      "managementListenAddress":"127.0.0.1:{}","certificate":"{}/cert.pem","privateKey":"{}/key.pem",
      "httpPort":{},"tlsPort":{},"ocspResponderURL":"","externalAccountBindingRequired":{},
      "externalAccountMACKeys":{{"kid-1":"{}"}},"domainBlocklist":["blocked.example"],
      "profiles":{{"default":{{"description":"x","validityPeriod":7776000}},
                  "shortlived":{{"description":"x","validityPeriod":576000}}}},
      "certificateValidityPeriod":7776000}}}})",
                                     port_, management_port_, name, name, http_port, tls_port,
                                     options_.wants_external_account, kMacKey));
    start();
  }
  ~Pebble() {
    stop();
    fs::remove_all(directory_);
  }

  void start() {
    const std::string config = (directory_ / "config.json").native(), log = (directory_ / "log").native();
    const std::string reuse = "PEBBLE_AUTHZREUSE=" + options_.reused_authorizations;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
      ::dup2(out, 1);
      ::dup2(out, 2);
      ::close_range(3, ~0U, 0);
      const char* arguments[] = {pebble_path(),  "-config",    config.c_str(),
                                 "-strict=true", "-dnsserver", name_server_.c_str(),
                                 nullptr};
      const char* environment[] = {"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=30", reuse.c_str(),
                                   "PEBBLE_ALTERNATE_ROOTS=1", nullptr};
      ::execve(arguments[0], const_cast<char**>(arguments), const_cast<char**>(environment));
      ::_exit(127);
    }
    net::EventLoop loop;
    for (int i = 0; i < 500; ++i) {
      if (run_task(loop, net::tcp_connect(loop, SocketAddr::v4({127, 0, 0, 1}, port_), soon()))) return;
      std::this_thread::sleep_for(20ms);
    }
    ADD_FAILURE() << "pebble did not start";
  }
  // It forgets everything.
  void stop() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  Ca ca() const {
    return {.directory = parse_https_url(fmt::format("https://localhost:{}/dir", port_)).value(),
            .root_pem = signer_.root_pem(),
            .contact = "ops@example.com",
            .terms_agreed = true};
  }
  // Of its management.
  HttpsUrl management(const std::string& path) const {
    return parse_https_url(fmt::format("https://localhost:{}{}", management_port_, path)).value();
  }

 private:
  void write(const char* name, const std::string& text) const { std::ofstream(directory_ / name) << text; }

  const PebbleOptions options_;
  const std::string name_server_;
  const uint16_t port_ = free_port(), management_port_ = free_port();
  tls::testing::RequestSigner signer_;
  fs::path directory_;
  pid_t pid_ = -1;
};

class PebbleTest : public ::testing::Test {
 public:
  void SetUp() override {
    if (!fs::exists(pebble_path())) GTEST_SKIP() << "pebble is not installed";
  }

  void start(PebbleOptions options = {}) {
    pebble_ = std::make_unique<Pebble>(host_.http_port(), host_.tls_port(), host_.name_server(),
                                       std::move(options));
  }
  Outcome<IssuedCertificate> issue(Ca ca, std::vector<ChallengeType> types, std::vector<std::string> names) {
    return host_.issue(std::move(ca), std::move(types), std::move(names));
  }
  std::string managed(const std::string& path) {
    HttpsClient client(loop_, pebble_->ca().root_pem);
    auto response = run_task(
        loop_, client.call(pebble_->management(path),
                           {.method = "GET", .target = {}, .headers = {}, .body = {}}, 64 * 1024, soon()));
    return response ? response->body : response.error().message;
  }

  net::EventLoop loop_;
  testing::ChallengedHost host_{loop_};
  std::unique_ptr<Pebble> pebble_;
};

TEST_F(PebbleTest, ByEachTypeOfChallenge) {
  start();
  struct Case {
    ChallengeType type;
    std::vector<std::string> names;
  };
  for (const Case& c :
       {Case{ChallengeType::kHttp01, {"http.example"}}, Case{ChallengeType::kTlsAlpn01, {"tls.example"}},
        Case{ChallengeType::kDns01, {"dns.example"}},
        Case{ChallengeType::kDns01, {"both.example", "*.both.example"}}}) {
    const auto issued = issue(pebble_->ca(), {c.type}, c.names);
    ASSERT_TRUE(issued) << to_string(c.type) << ": " << issued.error().error.message;
    EXPECT_THAT(issued->chain.names(), ::testing::UnorderedElementsAreArray(c.names));
    EXPECT_THAT(issued->chain.root_name(), HasSubstr("Pebble Root CA"));
    EXPECT_TRUE(renewal_id(issued->chain));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(host_.directory() / "accounts"), fs::directory_iterator()),
            1);
}

TEST_F(PebbleTest, GoesOnWithAnotherTypeWhenOneFails) {
  start();
  // Nobody answers for this name on the TLS port.
  const auto issued =
      issue(pebble_->ca(), {ChallengeType::kTlsAlpn01, ChallengeType::kDns01}, {"other.example"});
  ASSERT_TRUE(issued) << issued.error().error.message;
  const auto refused = issue(pebble_->ca(), {ChallengeType::kHttp01}, {"nowhere.example"});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is_of_name);
  EXPECT_THAT(refused.error().error.message, HasSubstr("the proof of nowhere.example by http-01"));
}

TEST_F(PebbleTest, RefusalsAreUnderstood) {
  start();
  const auto refused = issue(pebble_->ca(), {ChallengeType::kHttp01}, {"blocked.example"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, ProblemType::kRejectedIdentifier);
  Ca without_terms = pebble_->ca();
  without_terms.terms_agreed = false;
  host_.forget();
  EXPECT_THAT(issue(without_terms, {ChallengeType::kHttp01}, {"http.example"}).error().error.message,
              HasSubstr("terms of service"));
}

TEST_F(PebbleTest, BindsExternalAccounts) {
  start({.wants_external_account = true});
  Ca ca = pebble_->ca();
  const auto without = issue(ca, {ChallengeType::kHttp01}, {"http.example"});
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().type, ProblemType::kExternalAccountRequired);
  ca.external_account = parse_external_account("kid-1", "d3Jvbmc").value();
  EXPECT_FALSE(issue(ca, {ChallengeType::kHttp01}, {"http.example"})) << "another MAC key";
  ca.external_account = parse_external_account("kid-1", kMacKey).value();
  const auto with = issue(ca, {ChallengeType::kHttp01}, {"http.example"});
  EXPECT_TRUE(with) << with.error().error.message;
}

TEST_F(PebbleTest, TakesTheChainToThePreferredRoot) {
  start();
  for (const char* place : {"0", "1"}) {
    const auto root = tls::CertificateChain::from_pem(managed(fmt::format("/roots/{}", place)));
    ASSERT_TRUE(root) << root.error().message;
    Ca ca = pebble_->ca();
    ca.preferred_root = root->root_name();
    const auto issued = issue(ca, {ChallengeType::kHttp01}, {"http.example"});
    ASSERT_TRUE(issued) << issued.error().error.message;
    EXPECT_EQ(issued->chain.root_name(), root->root_name());
  }
}

TEST_F(PebbleTest, ReusesAuthorizations) {
  start({.reused_authorizations = "100"});
  ASSERT_TRUE(issue(pebble_->ca(), {ChallengeType::kHttp01}, {"http.example"}));
  host_.close_http();
  const auto issued = issue(pebble_->ca(), {ChallengeType::kHttp01}, {"http.example"});
  EXPECT_TRUE(issued) << issued.error().error.message;
}

TEST_F(PebbleTest, KnowsRenewalWindowsAndProfiles) {
  start();
  FileStore files = host_.store();
  Ca ca = pebble_->ca();
  Client client(loop_, ca, std::make_shared<Account>(tls::P256Key::generate()), soon());
  const auto directory = run_task(loop_, client.directory());
  ASSERT_TRUE(directory) << directory.error().error.message;
  if (directory->renewal_info.empty() || directory->profiles.empty()) {
    GTEST_SKIP() << "this pebble has no renewal windows (before 2.6) or no profiles (before 2.7)";
  }
  ca.profile = "shortlived";
  Issuer issuer(loop_, {.cas = {ca}, .challenge_types = {ChallengeType::kHttp01}}, files, host_.solver());
  const auto issued = run_task(loop_, issuer.issue({"http.example"}, std::nullopt));
  ASSERT_TRUE(issued) << issued.error().error.message;
  const Validity validity{.not_before = issued->chain.not_before(), .not_after = issued->chain.not_after()};
  EXPECT_LE(validity.lifetime(), 160h);
  const ReplacedCertificate replaced{.directory = issued->directory,
                                     .renewal_id = renewal_id(issued->chain).value()};
  const auto info = run_task(loop_, issuer.renewal_info(issued->directory, replaced.renewal_id));
  ASSERT_TRUE(info) << info.error().error.message;
  EXPECT_GT(info->window.start, validity.not_before);
  EXPECT_LT(info->window.end, validity.not_after);
  EXPECT_TRUE(info->retry_after);
  // It is replaced once; a second time another one is issued all the same.
  for (const uint64_t orders : {2u, 3u}) {
    const auto renewed = run_task(loop_, issuer.issue({"http.example"}, replaced));
    ASSERT_TRUE(renewed) << renewed.error().error.message;
    EXPECT_EQ(issuer.counters().issued, orders);
  }
}

TEST_F(PebbleTest, Revokes) {
  start();
  FileStore files = host_.store();
  Issuer issuer(loop_, {.cas = {pebble_->ca()}, .challenge_types = {ChallengeType::kHttp01}}, files,
                host_.solver());
  const auto issued = run_task(loop_, issuer.issue({"http.example"}, std::nullopt));
  ASSERT_TRUE(issued) << issued.error().error.message;
  const std::string status = "/cert-status-by-serial/" + to_hex(issued->chain.serial());
  EXPECT_THAT(managed(status), HasSubstr("\"Valid\""));
  const auto revoked = run_task(loop_, issuer.revoke(issued->directory, issued->chain.leaf_der()));
  ASSERT_TRUE(revoked) << revoked.error().error.message;
  EXPECT_THAT(managed(status), HasSubstr("\"Revoked\""));
  EXPECT_EQ(run_task(loop_, issuer.revoke(issued->directory, issued->chain.leaf_der())).error().type,
            ProblemType::kAlreadyRevoked);
}

// Over a restart of ours and one of the CA, which forgets the account.
TEST_F(PebbleTest, IsManaged) {
  start();
  std::map<std::string, tls::IdentityPtr> served;
  FileStore files = host_.store();
  for (const std::string name : {"http.example", "*.dns.example"}) {
    Manager manager(loop_,
                    {.issuer = {.cas = {pebble_->ca()},
                                .challenge_types = {ChallengeType::kHttp01, ChallengeType::kDns01}}},
                    files, host_.solver(),
                    [&](const std::string& of, const StoredCertificate&, tls::IdentityPtr identity) {
                      served[of] = std::move(identity);
                    });
    net::TaskGroup running(loop_);
    running.spawn(manager.run());
    for (const char* each : {"http.example", name.c_str()}) ASSERT_TRUE(manager.want(each, "tenant"));
    run_until(loop_, [&] { return served.contains(name); });
    // Pebble has no renewal windows, which is no failure.
    run_until(loop_, [&] { return !manager.status(name)->schedule.is_running; });
    EXPECT_EQ(manager.counters().failed_orders, 0u);
    EXPECT_EQ(manager.counters().first_certificates, 1u) << "what is stored is not ordered again";
    manager.stop();
    run_until(loop_, [&] { return running.size() == 0; });
    pebble_->stop();
    pebble_->start();
  }
  EXPECT_EQ(served.size(), 2u);
}

}  // namespace
}  // namespace culvert::acme
