#include "ca/server.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "acme/challenged_host_fixture.h"
#include "acme/client.h"
#include "acme/https_client.h"
#include "base/encoding.h"
#include "ca/memory_store_fixture.h"
#include "ca/root_fetch.h"
#include "ca/validator.h"
#include "net/resolver.h"

// Our own client against our own server, over loopback: what pebble_test.cc asks of the client, and what a
// server has to do besides.
namespace culvert::ca {
namespace {

using acme::ChallengeType;
using net::testing::run_task;
using net::testing::soon;
using ::testing::Contains;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class CaServerTest : public ::testing::Test {
 public:
  ~CaServerTest() override { stop(); }

  Options options() {
    Options out;
    out.listen = net::testing::addr("127.0.0.1:0");
    out.name_server = host_.name_server();
    out.ports = {.http = host_.http_port(), .tls = host_.tls_port()};
    return out;
  }
  void start(const Options& options) {
    auto server = Server::start(loop_, options, tls::InternalCa::load(root_).value(), store_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void stop() {
    if (!server_) return;
    net::TaskGroup stopping(loop_);
    stopping.spawn(server_->stop());
    net::testing::run_until(loop_, [&] { return stopping.size() == 0; });
    server_.reset();
  }
  acme::Ca ca() const {
    return {.directory = acme::parse_https_url(server_->directory_url()).value(),
            .root_pem = root_.certificate,
            .contact = "ops@example.com"};
  }
  std::string metrics() const {
    Metrics metrics;
    server_->report(metrics);
    return metrics.to_text();
  }

  net::EventLoop loop_;
  acme::testing::ChallengedHost host_{loop_};
  tls::InternalCa::Pem root_ = tls::InternalCa::create("Test Root", loop_.unix_now());
  testing::MemoryStore store_;
  std::unique_ptr<Server> server_;
};

TEST_F(CaServerTest, ByEachTypeOfChallenge) {
  start(options());
  EXPECT_THAT(server_->directory_url(), ::testing::StartsWith("https://localhost:"));
  struct Case {
    ChallengeType type;
    std::vector<std::string> names;
  };
  for (const Case& c :
       {Case{ChallengeType::kHttp01, {"http.example"}}, Case{ChallengeType::kTlsAlpn01, {"tls.example"}},
        Case{ChallengeType::kDns01, {"dns.example"}},
        Case{ChallengeType::kDns01, {"both.example", "*.both.example"}}}) {
    const auto issued = host_.issue(ca(), {c.type}, c.names);
    ASSERT_TRUE(issued) << acme::to_string(c.type) << ": " << issued.error().error.message;
    EXPECT_THAT(issued->chain.names(), ::testing::UnorderedElementsAreArray(c.names));
    EXPECT_EQ(issued->chain.root_name(), "Test Root");
    EXPECT_TRUE(acme::renewal_id(issued->chain));
  }
  EXPECT_EQ(store_.kept_accounts.size(), 1u);
  EXPECT_THAT(metrics(), HasSubstr("culvert_ca_issued_total 4\n"));
  EXPECT_THAT(metrics(), HasSubstr(R"(culvert_ca_challenges_total{kind="dns-01",result="valid"} 3)"));
}

TEST_F(CaServerTest, TellsWhatIsNotProven) {
  start(options());
  // Nobody answers for this name on the TLS port.
  const auto issued =
      host_.issue(ca(), {ChallengeType::kTlsAlpn01, ChallengeType::kDns01}, {"other.example"});
  ASSERT_TRUE(issued) << issued.error().error.message;
  const auto unknown = host_.issue(ca(), {ChallengeType::kHttp01}, {"nowhere.example"});
  ASSERT_FALSE(unknown);
  EXPECT_TRUE(unknown.error().is_of_name);
  EXPECT_EQ(unknown.error().type, acme::ProblemType::kDns);
  host_.close_http();
  const auto refused = host_.issue(ca(), {ChallengeType::kHttp01}, {"http.example"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().type, acme::ProblemType::kConnection);
  EXPECT_THAT(refused.error().error.message, HasSubstr("the proof of http.example by http-01"));
}

TEST_F(CaServerTest, BindsExternalAccountsAndKeepsToItsDomains) {
  Options wanted = options();
  wanted.external_key_id = "kid-1";
  wanted.external_mac_key = SecretString("c2VjcmV0");
  wanted.domains = {"http.example"};
  start(wanted);
  acme::Ca client = ca();
  const auto without = host_.issue(client, {ChallengeType::kHttp01}, {"http.example"});
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().type, acme::ProblemType::kExternalAccountRequired);
  client.external_account = acme::parse_external_account("kid-1", SecretString("d3Jvbmc")).value();
  EXPECT_FALSE(host_.issue(client, {ChallengeType::kHttp01}, {"http.example"})) << "another MAC key";
  client.external_account = acme::parse_external_account("kid-1", SecretString("c2VjcmV0")).value();
  const auto with = host_.issue(client, {ChallengeType::kHttp01}, {"http.example"});
  EXPECT_TRUE(with) << with.error().error.message;
  const auto blocked = host_.issue(client, {ChallengeType::kHttp01}, {"blocked.example"});
  ASSERT_FALSE(blocked);
  EXPECT_EQ(blocked.error().type, acme::ProblemType::kRejectedIdentifier);
}

TEST_F(CaServerTest, RenewsReplacesAndRevokes) {
  start(options());
  acme::FileStore files = host_.store();
  acme::Issuer issuer(loop_, {.cas = {ca()}, .challenge_types = {ChallengeType::kHttp01}}, files,
                      host_.solver());
  const auto issued = run_task(loop_, issuer.issue({"http.example"}, std::nullopt));
  ASSERT_TRUE(issued) << issued.error().error.message;
  const acme::ReplacedCertificate replaced{.directory = issued->directory,
                                           .renewal_id = acme::renewal_id(issued->chain).value()};
  const auto info = run_task(loop_, issuer.renewal_info(issued->directory, replaced.renewal_id));
  ASSERT_TRUE(info) << info.error().error.message;
  EXPECT_GT(info->window.start, issued->chain.not_before());
  EXPECT_LT(info->window.end, issued->chain.not_after());
  EXPECT_TRUE(info->retry_after);
  // It is replaced once; a second time another one is issued all the same.
  for (const uint64_t orders : {2u, 3u}) {
    const auto renewed = run_task(loop_, issuer.issue({"http.example"}, replaced));
    ASSERT_TRUE(renewed) << renewed.error().error.message;
    EXPECT_EQ(issuer.counters().issued, orders);
  }
  const auto revoked = run_task(loop_, issuer.revoke(issued->directory, issued->chain.leaf_der()));
  ASSERT_TRUE(revoked) << revoked.error().error.message;
  EXPECT_EQ(run_task(loop_, issuer.revoke(issued->directory, issued->chain.leaf_der())).error().type,
            acme::ProblemType::kAlreadyRevoked);
}

TEST_F(CaServerTest, ARestartKeepsAccounts) {
  start(options());
  ASSERT_TRUE(host_.issue(ca(), {ChallengeType::kHttp01}, {"http.example"}));
  Options same = options();
  same.listen = server_->local_addr();
  stop();
  start(same);
  const auto issued = host_.issue(ca(), {ChallengeType::kHttp01}, {"http.example"});
  EXPECT_TRUE(issued) << issued.error().error.message;
  EXPECT_EQ(store_.kept_accounts.size(), 1u);
  EXPECT_EQ(store_.kept_certificates.size(), 2u);
}

TEST_F(CaServerTest, GivesItsRootToWhomTrustsNothingYet) {
  start(options());
  const auto root = run_task(loop_, fetch_root(loop_, server_->directory_url(), soon()));
  ASSERT_TRUE(root) << root.error().message;
  EXPECT_EQ(*root, root_.certificate);
  EXPECT_FALSE(run_task(loop_, fetch_root(loop_, "http://localhost/", soon())));
}

TEST_F(CaServerTest, UnreadableRequestsAreProblemsToo) {
  start(options());
  acme::HttpsClient client(loop_, root_.certificate);
  http::Request large{.method = "POST", .target = {}, .headers = {}, .body = std::string(200'000, 'x')};
  large.headers.add("Content-Type", "application/jose+json");
  const auto answer =
      run_task(loop_, client.call(acme::parse_https_url(server_->url("/acme/new-order")).value(),
                                  std::move(large), 64 * 1024, soon()));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 413);
  EXPECT_THAT(answer->body, HasSubstr("urn:ietf:params:acme:error:malformed"));
}

TEST_F(CaServerTest, ConnectionsAreBounded) {
  start(options());
  std::vector<std::unique_ptr<net::ByteStream>> open;
  for (size_t i = 0; i <= Server::kMaxConnections; ++i) {
    auto connected = run_task(loop_, net::tcp_connect(loop_, server_->local_addr(), soon()));
    ASSERT_TRUE(connected);
    open.push_back(std::move(*connected));
  }
  net::testing::run_until(loop_, [this] {
    return metrics().find("culvert_ca_failed_connections_total{reason=\"max_connections\"} 1") !=
           std::string::npos;
  });
  EXPECT_THAT(metrics(), HasSubstr(fmt::format("culvert_ca_connections {}\n", Server::kMaxConnections)));
}

TEST_F(CaServerTest, WhatItCannotStartWith) {
  Options wanted = options();
  wanted.listen = net::testing::addr("0.0.0.0:0");
  const auto nameless = Server::start(loop_, wanted, tls::InternalCa::load(root_).value(), store_);
  ASSERT_FALSE(nameless);
  EXPECT_THAT(nameless.error().message, HasSubstr("--name"));
  wanted = options();
  wanted.external_key_id = "kid-1";
  const auto keyless = Server::start(loop_, wanted, tls::InternalCa::load(root_).value(), store_);
  ASSERT_FALSE(keyless);
  EXPECT_THAT(keyless.error().message, HasSubstr("eab-mac-key"));
}

// A host whose answers over HTTP are chosen by the test.
class ValidatorTest : public ::testing::Test {
 public:
  ValidatorTest() {
    listener_ = net::TcpListener::listen(loop_, net::testing::addr("127.0.0.1:0"), {}).value();
    net::configure_resolver(loop_, {.servers = dns_.address(), .hosts = "/dev/null"});
    tasks_.spawn(accept());
  }
  ~ValidatorTest() override {
    listener_->close();
    http_.close();
    tasks_.cancel();
    net::testing::run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  net::Task<> accept() {
    for (;;) {
      auto accepted = co_await listener_->accept();
      if (!accepted) co_return;
      tasks_.spawn(http_.serve(std::move(*accepted)));
    }
  }
  net::Task<> answer(http::Exchange& exchange) {
    asked_.push_back(*exchange.request.headers.find("host") + std::string(exchange.path()));
    const auto found = answers_.find(asked_.back());
    http::Response response{.status = 404, .headers = {}, .body = {}};
    if (found != answers_.end()) response = found->second;
    if (late_ > 0) {
      --late_;
      response = {.status = 503, .headers = {}, .body = {}};
    }
    auto sent = co_await exchange.respond(std::move(response));
    (void)sent;
  }
  static http::Response redirect(const std::string& to) {
    http::Response out{.status = 302, .headers = {}, .body = {}};
    out.headers.add("Location", to);
    return out;
  }
  acme::Challenge challenge(ChallengeType type = ChallengeType::kHttp01, const std::string& name = "a.test") {
    return {.type = type, .name = name, .token = "t", .key_authorization = "t.thumbprint"};
  }
  std::optional<acme::Problem> validate(const acme::Challenge& what) {
    Validator validator(loop_, {.ports = {.http = listener_->local_addr().port(), .tls = 1},
                                .tries = tries_,
                                .pause = 1ms,
                                .try_time = 2s});
    return run_task(loop_, validator.validate(what));
  }

  net::EventLoop loop_;
  std::map<std::string, std::vector<std::string>> texts_;
  net::testing::FakeDns dns_{loop_, [this](const std::string& name, uint16_t type) {
                               net::testing::DnsReply reply;
                               if (name == "lost.test") return net::testing::DnsReply{.rcode = 2};
                               // The first address does not answer: nobody listens there.
                               if (type == net::testing::kTypeA) {
                                 reply.records = {net::testing::dns_address(name, "127.0.0.9"),
                                                  net::testing::dns_address(name, "127.0.0.1")};
                               }
                               if (type == net::testing::kTypeTxt) {
                                 for (const std::string& text : texts_[name])
                                   reply.records.push_back(net::testing::dns_text(name, {text}));
                               }
                               return reply;
                             }};
  std::map<std::string, http::Response> answers_;
  std::vector<std::string> asked_;
  int late_ = 0, tries_ = 3;
  http::Server http_{loop_, {}, [this](http::Exchange& exchange) { return answer(exchange); }};
  std::unique_ptr<net::TcpListener> listener_;
  net::TaskGroup tasks_{loop_};
};

TEST_F(ValidatorTest, FindsAnAnswerThatComesLate) {
  answers_["a.test/.well-known/acme-challenge/t"] = {
      .status = 200, .headers = {}, .body = "t.thumbprint\r\n"};
  late_ = 2;
  EXPECT_FALSE(validate(challenge()));
  EXPECT_EQ(asked_.size(), 3u);
  late_ = 3;
  const auto problem = validate(challenge());
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->type, acme::ProblemType::kUnauthorized);
  EXPECT_THAT(problem->detail, HasSubstr("status 503"));
}

TEST_F(ValidatorTest, FollowsRedirectsToTheUsualPorts) {
  tries_ = 1;
  answers_["a.test/.well-known/acme-challenge/t"] = redirect("http://b.test/x");
  answers_["b.test/x"] = redirect("/y");
  answers_["b.test/y"] = {.status = 200, .headers = {}, .body = "t.thumbprint"};
  EXPECT_FALSE(validate(challenge()));
  answers_["b.test/y"] = redirect("http://b.test:22/");
  EXPECT_THAT(validate(challenge())->detail, HasSubstr("port 22"));
  answers_["b.test/y"] = redirect("/y");
  const auto endless = validate(challenge());
  ASSERT_TRUE(endless);
  EXPECT_THAT(endless->detail, HasSubstr("more than 10 redirects"));
  answers_["b.test/y"] = {.status = 200, .headers = {}, .body = "t.other"};
  EXPECT_THAT(validate(challenge())->detail, HasSubstr("\"t.other\", expected t.thumbprint"));
  answers_["b.test/y"] = {.status = 200, .headers = {}, .body = std::string(5000, 'x')};
  EXPECT_EQ(validate(challenge())->type, acme::ProblemType::kConnection);
}

TEST_F(ValidatorTest, LooksInDns) {
  tries_ = 1;
  const acme::Challenge wanted = challenge(ChallengeType::kDns01);
  EXPECT_THAT(validate(wanted)->detail, HasSubstr("has no TXT record"));
  texts_["_acme-challenge.a.test"] = {"other"};
  const auto other = validate(wanted);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->type, acme::ProblemType::kUnauthorized);
  EXPECT_THAT(other->detail, HasSubstr("the first one is \"other\""));
  texts_["_acme-challenge.a.test"].push_back(wanted.dns_text());
  EXPECT_FALSE(validate(wanted));
}

TEST_F(ValidatorTest, TellsConnectionsFromNames) {
  tries_ = 1;
  EXPECT_EQ(validate(challenge(ChallengeType::kTlsAlpn01))->type, acme::ProblemType::kConnection);
  EXPECT_TRUE(validate(challenge(ChallengeType::kHttp01, "lost.test")));
}

}  // namespace
}  // namespace culvert::ca
