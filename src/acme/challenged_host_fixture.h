#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "acme/challenge_table.h"
#include "acme/file_store.h"
#include "acme/issuer.h"
#include "http/server.h"
#include "net/testing.h"
#include "net/testing_dns.h"

// For tests against a whole CA.
namespace culvert::acme::testing {

// A host on loopback that answers challenges, on ports of its own, and the name server that leads to it:
// every name but those below "nowhere." is the host's. Over TLS it answers for tls.example alone.
class ChallengedHost {
 public:
  explicit ChallengedHost(net::EventLoop& loop) : loop_(loop) {
    http_listener_ = net::TcpListener::listen(loop_, net::testing::addr("127.0.0.1:0"), {}).value();
    tls_listener_ = net::TcpListener::listen(loop_, net::testing::addr("127.0.0.1:0"), {}).value();
    tasks_.spawn(accept_http());
    tasks_.spawn(accept_tls());
  }
  ~ChallengedHost() {
    http_listener_->close();
    tls_listener_->close();
    http_.close();
    tasks_.cancel();
    net::testing::run_until(loop_, [this] { return tasks_.size() == 0; });
    EXPECT_EQ(table_.size(), 0u) << "what was proven is not answered any more";
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  uint16_t http_port() const { return http_listener_->local_addr().port(); }
  uint16_t tls_port() const { return tls_listener_->local_addr().port(); }
  std::string name_server() const { return dns_.address(); }
  // No HTTP request is answered from here on.
  void close_http() { http_listener_->close(); }
  Solver& solver() { return solver_; }

  // Of the client; made when it is first asked for, and removed at the end.
  const std::filesystem::path& directory() {
    if (directory_.empty()) {
      std::string name = (std::filesystem::temp_directory_path() / "culvert-acme-XXXXXX").native();
      EXPECT_NE(::mkdtemp(name.data()), nullptr);
      directory_ = name;
    }
    return directory_;
  }
  FileStore store() { return FileStore::open(directory()).value(); }
  void forget() { std::filesystem::remove_all(directory_); }

  Outcome<IssuedCertificate> issue(Ca ca, std::vector<ChallengeType> types, std::vector<std::string> names) {
    FileStore files = store();
    Issuer issuer(loop_, {.cas = {std::move(ca)}, .challenge_types = std::move(types)}, files, solver_);
    return net::testing::run_task(loop_, issuer.issue(std::move(names), std::nullopt));
  }

 private:
  net::Task<> accept_http() {
    for (;;) {
      auto accepted = co_await http_listener_->accept();
      if (!accepted) co_return;
      tasks_.spawn(http_.serve(std::move(*accepted)));
    }
  }
  net::Task<> answer_http(http::Exchange& exchange) {
    const std::string* host = exchange.request.headers.find("host");
    http::Response response{.status = 404, .headers = {}, .body = {}};
    const std::string name = host ? host->substr(0, host->find(':')) : std::string();
    if (auto answer = table_.http_answer(name, exchange.path()))
      response = {.status = 200, .headers = {}, .body = *answer};
    auto sent = co_await exchange.respond(std::move(response));
    (void)sent;
  }
  net::Task<> accept_tls() {
    for (;;) {
      auto accepted = co_await tls_listener_->accept();
      if (!accepted) co_return;
      tasks_.spawn(answer_tls(std::move(*accepted)));
    }
  }
  net::Task<> answer_tls(std::unique_ptr<net::ByteStream> transport) {
    auto identity = table_.certificate("tls.example");
    if (!identity) co_return;
    auto stream = co_await tls::accept(std::move(transport), {}, std::move(identity), {tls::kAcmeAlpn},
                                       net::testing::soon());
    if (stream) (*stream)->close();
  }
  net::testing::DnsReply answer_dns(const std::string& name, uint16_t type) const {
    net::testing::DnsReply reply;
    if (name.starts_with("nowhere.")) return {.rcode = 3};
    if (type == net::testing::kTypeA) reply.records = {net::testing::dns_address(name, "127.0.0.1")};
    if (type == net::testing::kTypeTxt) {
      for (const std::string& text : table_.texts(name))
        reply.records.push_back(net::testing::dns_text(name, {text}));
    }
    return reply;
  }

  net::EventLoop& loop_;
  ChallengeTable table_;
  TableSolver solver_{
      loop_, table_, {ChallengeType::kTlsAlpn01, ChallengeType::kHttp01, ChallengeType::kDns01}};
  net::testing::FakeDns dns_{
      loop_, [this](const std::string& name, uint16_t type) { return answer_dns(name, type); }};
  http::Server http_{loop_, {}, [this](http::Exchange& exchange) { return answer_http(exchange); }};
  std::unique_ptr<net::TcpListener> http_listener_, tls_listener_;
  net::TaskGroup tasks_{loop_};
  std::filesystem::path directory_;
};

}  // namespace culvert::acme::testing
