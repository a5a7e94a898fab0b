#include "origin/origin.h"

#include <gmock/gmock.h>

#include "agent/agent_fixture.h"
#include "agent/services.h"
#include "base/file.h"
#include "net/unix_fixture.h"
#include "origin/service_text.h"

namespace culvert::agent {
namespace {

using origin::OriginTls;
using origin::parse_port_service;
using origin::parse_service;
using origin::parse_services;
using origin::UnixPath;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

std::unique_ptr<tls::InternalCa> make_ca(const tls::InternalCa::Pem& pem) {
  return tls::InternalCa::load(pem).value();
}

TEST(Origin, IsAnAddressOrAUnixSocket) {
  for (const char* text : {"localhost:3000", "[::1]:443", "10.0.0.1:80", "unix:/run/app.sock", "unix:@app"}) {
    const auto origin = Origin::parse(text);
    ASSERT_TRUE(origin) << origin.error().message;
    EXPECT_EQ(origin->to_string(), text);
  }
  EXPECT_EQ(Origin::parse("unix:/a b.sock")->place,
            (std::variant<HostPort, UnixPath>(UnixPath{"/a b.sock"})));
}

TEST(Origin, RefusesWhatIsNeither) {
  for (const auto& [text, reason] :
       {std::pair<std::string, std::string>{"unix:", "expected an absolute path"},
        {"unix:app.sock", "expected an absolute path"},
        {"unix:/", "expected an absolute path"},
        {"unix:@", "expected an absolute path"},
        {"unix:/a,b", "without commas"},
        {"unix:/" + std::string(107, 'x'), "107 bytes at most"},
        {"localhost", "has no port"},
        {"http://x:1", "without a scheme"}}) {
    const auto origin = Origin::parse(text);
    ASSERT_FALSE(origin) << text;
    EXPECT_EQ(origin.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(origin.error().message, HasSubstr(reason));
  }
}

// Files of an origin's TLS in a directory of the test's own.
class OriginFiles : public ::testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& content) {
    const std::string path = ::testing::TempDir() + "culvert-origin-" + name;
    EXPECT_TRUE(replace_file(path, as_bytes(content), 0600));
    return path;
  }
  std::string load(OriginTls tls, UnixTime now) {
    auto loaded = load_files(tls, {}, now);
    EXPECT_EQ(loaded.has_value(), tls.loaded.has_value());
    return loaded ? "taken" : loaded.error().message;
  }

  const UnixTime now_ = unix_now();
  const tls::InternalCa::Pem one_ = tls::InternalCa::create("One", now_);
  const tls::InternalCa::Pem other_ = tls::InternalCa::create("Other", now_);
};

TEST_F(OriginFiles, EachFaultNamesTheMemberTheFileAndTheNextStep) {
  const std::string ca = file("ca.pem", one_.certificate);
  const std::string key = file("key.pem", one_.private_key.expose());
  const std::string other_key = file("other.pem", other_.private_key.expose());
  const std::string broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n");
  const UnixTime later = now_ + std::chrono::days(3660);
  EXPECT_EQ(load({.server_name = "a.test"}, now_), "taken");
  EXPECT_EQ(load({.server_name = "a.test", .ca_file = ca, .cert_file = ca, .key_file = key}, now_), "taken");
  EXPECT_THAT(load({.server_name = "a.test", .ca_file = "/nowhere/ca.pem"}, now_),
              AllOf(HasSubstr("origin_ca_file \"/nowhere/ca.pem\""), HasSubstr("correct the path")));
  EXPECT_THAT(
      load({.server_name = "a.test", .ca_file = broken}, now_),
      AllOf(HasSubstr("origin_ca_file"), HasSubstr(broken), HasSubstr("put the PEM certificate of the CA")));
  EXPECT_THAT(load({.server_name = "a.test", .ca_file = ca}, later),
              AllOf(HasSubstr(ca), HasSubstr("has expired"), HasSubstr("put the PEM certificate of the CA")));
  EXPECT_THAT(load({.server_name = "a.test", .cert_file = ca, .key_file = other_key}, now_),
              AllOf(HasSubstr(ca), HasSubstr(other_key), HasSubstr("do not belong together")));
  EXPECT_THAT(load({.server_name = "a.test", .cert_file = ca, .key_file = broken}, now_),
              AllOf(HasSubstr("origin_key_file"), HasSubstr("unencrypted PEM key")));
  EXPECT_THAT(load({.server_name = "a.test", .cert_file = ca, .key_file = key}, later),
              HasSubstr("has expired"));
}

TEST_F(OriginFiles, OtherContentsMakeAnotherOrigin) {
  const std::string ca = file("ca.pem", one_.certificate);
  OriginTls first{.server_name = "a.test", .ca_file = ca};
  OriginTls again = first;
  ASSERT_TRUE(load_files(first, {}, now_));
  ASSERT_TRUE(load_files(again, {}, now_));
  EXPECT_EQ(first, again);
  file("ca.pem", other_.certificate);
  ASSERT_TRUE(load_files(again, {}, now_));
  EXPECT_NE(first, again);
}

TEST(OriginMembers, SayWhatGoesTogether) {
  struct Case {
    const char* members;
    const char* reason;
  };
  for (
      const auto& [members, reason] : std::initializer_list<Case>{
          {R"("tls_mode":"terminate","origin_ca_file":"/ca")",
           "origin_ca_file is for TLS to the origin; give origin_server_name"},
          {R"("tls_mode":"terminate","origin_tls":"insecure")", "origin_tls is for TLS to the origin"},
          {R"("origin_server_name":"a.test")",
           "origin_server_name: passthrough brings the TLS of the client"},
          {R"("tls_mode":"terminate","origin_server_name":"a b")", "neither a hostname nor an address"},
          {R"("tls_mode":"terminate","origin_server_name":"")", "origin_server_name is empty"},
          {R"("tls_mode":"terminate","origin_server_name":"a.test","origin_tls":"no")",
           "use \"verify\" or \"insecure\""},
          {R"("tls_mode":"terminate","origin_server_name":"a.test","origin_tls":"insecure","origin_ca_file":"/ca")",
           "so origin_ca_file has no use"},
          {R"("tls_mode":"terminate","origin_server_name":"a.test","origin_cert_file":"/c")",
           "belong together"},
          {R"("tls_mode":"terminate","health":"udp")", "health: \"udp\" is unknown"},
          {R"("tls_mode":"terminate","health":"tls")",
           "health: the origin of this service is spoken to in plaintext"},
          {R"("health":{"check":"tcp","path":"/x"})", "path is for the check \"http\""},
          {R"("health":{"check":"http","interval":"1ms"})", "interval: 1ms is too short"},
          {R"("health":{"check":"http","timeout":"20s"})", "the timeout 20s is longer than the interval 10s"},
          {R"("health":{"check":"http","fall":0})", "fall must be a number from 1 to 100"},
          {R"("health":{"check":"http","path":"x y"})", "is not a path"},
          {R"("health":{"check":"http","pth":"/"})", "member \"pth\" is unknown"},
          {R"("health":{"path":"/"})", "check is missing"},
          {R"("health":7)", "health: must be a string"}}) {
    const auto services =
        parse_services(fmt::format(R"([{{"hostname":"a.test","origin":"localhost:1",{}}}])", members));
    ASSERT_FALSE(services) << members;
    EXPECT_THAT(services.error().message, HasSubstr(reason)) << members;
  }
}

TEST(OriginMembers, JsonAndShortFormSayTheSame) {
  const auto json = parse_services(R"([
    {"hostname":"a.test","origin":"unix:/run/a.sock","tls_mode":"terminate","origin_server_name":"In.Test",
     "origin_tls":"insecure","health":{"check":"http","path":"/up"}},
    {"protocol":"tcp","name":"db","origin":"db:5432","origin_server_name":"10.0.0.1","health":"tcp"},
    {"hostname":"b.test","origin":"b:1","health":{"check":"tls","interval":"1s","fall":1,"rise":5}}])");
  ASSERT_TRUE(json) << json.error().message;
  const auto web = parse_service("a.test=unix:/run/a.sock,terminate,tls=in.test,insecure,health=/up");
  ASSERT_TRUE(web) << web.error().message;
  EXPECT_EQ((*json)[0], *web);
  const auto port = parse_port_service(route::PortProtocol::kTcp, "db=db:5432,tls=10.0.0.1,health=tcp");
  ASSERT_TRUE(port) << port.error().message;
  EXPECT_EQ((*json)[1], *port);
  const HealthCheck& health = *(*json)[2].health;
  EXPECT_EQ(health.interval, 1s);
  EXPECT_EQ(health.timeout, 1s) << "never longer than the interval";
  EXPECT_EQ(health.fall, 1);
  EXPECT_EQ(health.rise, 5);
  for (const char* wrong :
       {"a.test=x:1,terminate,insecure", "a.test=x:1,terminate,tls=", "a.test=x:1,tls=a.test",
        "a.test=x:1,terminate,tls=a.test,tls=b.test", "a.test=x:1,terminate,health=udp",
        "a.test=x:1,terminate,tls=a.test,insecure,insecure"}) {
    EXPECT_FALSE(parse_service(wrong)) << wrong;
  }
}

class OriginTest : public AgentTest {
 protected:
  Service service(std::string options, tls::RootsPtr roots = nullptr) {
    Service made =
        parse_service(fmt::format("new.test=127.0.0.1:{},terminate{}", origin_->local_addr().port(), options))
            .value();
    if (made.origin.tls) {
      made.origin.tls->loaded = OriginTls::Loaded{
          tls::make_client_context(
              {.roots = std::move(roots), .is_insecure = made.origin.tls->is_insecure, .alpn = {"http/1.1"}}),
          {}};
    }
    return made;
  }
  tls::RootsPtr roots() { return tls::load_roots(ca_.certificate, unix_now()).value(); }
  // The origin's side of a connection: what comes before TLS, and the stream inside.
  std::unique_ptr<net::ByteStream> accept_tls(std::string_view name, size_t before,
                                              std::string* first = nullptr) {
    auto socket = accept_at_origin();
    if (before > 0) {
      Bytes bytes(before);
      size_t got = 0;
      while (got < before) {
        auto more = run_task(loop_, net::read_some(*socket, MutableBytes(bytes).subspan(got), soon()));
        if (!more || *more == 0) break;
        got += *more;
      }
      if (first) *first = std::string(as_text(bytes));
    }
    auto identity = make_ca(ca_)->issue(name, unix_now()).value();
    auto accepted = run_task(loop_, tls::accept(std::move(socket), {}, identity, {"http/1.1"}, soon()));
    return accepted ? std::move(*accepted) : nullptr;
  }

  const tls::InternalCa::Pem ca_ = tls::InternalCa::create("Origins", unix_now());
};

TEST_F(OriginTest, AUnixSocketIsServed) {
  const std::string name = fmt::format("@culvert-origin-{}", ::getpid());
  net::testing::UnixServer server(name);
  more_services_ = {parse_service("new.test=unix:" + name + ",terminate").value()};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  wait([&] { return agent_->open_connections() == 1; });  // accept() would block the loop
  const Descriptor peer = server.accept();
  char text[16] = {};
  wait([&] {
    return stream->is_open() && ::recv(peer.get(), text, sizeof text, MSG_DONTWAIT | MSG_PEEK) == 5;
  });
  EXPECT_STREQ(text, "hello");
  ASSERT_EQ(::write(peer.get(), "answer", 6), 6);
  Bytes answer(16);
  answer.resize(run_task(loop_, endpoint::read_some(loop_, stream, answer, soon())).value());
  EXPECT_EQ(as_text(answer), "answer");
}

TEST_F(OriginTest, AUnixSocketThatIsMissingIsNamed) {
  more_services_ = {parse_service("new.test=unix:/nowhere/app.sock,terminate").value()};
  start_and_link();
  expect_refused(open(links_[0], "new.test", TlsMode::kTerminate), tunnel::kStreamOriginUnreachable);
  EXPECT_THAT(agent_->faults(),
              Contains(AllOf(HasSubstr("unix:/nowhere/app.sock"), HasSubstr("no such file"))));
}

TEST_F(OriginTest, TlsIsSpokenWithTheOrigin) {
  more_services_ = {service(",tls=inside.test", roots())};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  auto inside = accept_tls("inside.test", 0);
  ASSERT_TRUE(inside);
  EXPECT_EQ(read(*inside), "hello");
  write(*inside, "answer");
  Bytes answer(16);
  answer.resize(run_task(loop_, endpoint::read_some(loop_, stream, answer, soon())).value());
  EXPECT_EQ(as_text(answer), "answer");
  EXPECT_THAT(agent_->faults(), IsEmpty());
}

TEST_F(OriginTest, TheProxyHeaderComesBeforeTheHello) {
  more_services_ = {service(",tls=inside.test,proxy=v2", roots())};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  std::string header;
  // 16 bytes, IPv4 addresses and ports, and the authority.
  auto inside = accept_tls("inside.test", 16 + 12 + 3 + std::string_view("new.test").size(), &header);
  ASSERT_TRUE(inside);
  EXPECT_TRUE(header.starts_with("\r\n\r\n"));
  EXPECT_TRUE(header.ends_with("new.test"));
  EXPECT_EQ(read(*inside), "hello");
}

TEST_F(OriginTest, ACertificateThatIsNotTrustedIsToldWithTheNextStep) {
  more_services_ = {service(",tls=inside.test", roots())};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  EXPECT_FALSE(accept_tls("other.test", 0));
  expect_refused(stream, tunnel::kStreamOriginUntrusted);
  EXPECT_THAT(agent_->faults(),
              Contains(AllOf(HasSubstr("of new.test is not trusted"), HasSubstr("it is for other.test"),
                             HasSubstr("set origin_server_name"))));
  // The next one is.
  auto again = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  ASSERT_TRUE(accept_tls("inside.test", 0));
  EXPECT_THAT(agent_->faults(), IsEmpty());
}

TEST_F(OriginTest, AnUnknownCaIsTakenOnlyWhereThatIsSaid) {
  more_services_ = {service(",tls=inside.test,insecure")};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate, "hello");
  auto inside = accept_tls("other.test", 0);
  ASSERT_TRUE(inside);
  EXPECT_EQ(read(*inside), "hello");
}

TEST_F(OriginTest, AnOriginThatIsSilentInItsHandshakeIsLeft) {
  origin_timeout_ = 200ms;
  more_services_ = {service(",tls=inside.test", roots())};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate);
  auto silent = accept_at_origin();
  expect_refused(stream, tunnel::kStreamOriginTimeout);
}

TEST_F(OriginTest, AnOriginWithoutTlsIsToldAsSuch) {
  more_services_ = {service(",tls=inside.test", roots())};
  start_and_link();
  auto stream = open(links_[0], "new.test", TlsMode::kTerminate);
  auto plain = accept_at_origin();
  write(*plain, "HTTP/1.1 400 Bad Request\r\n\r\n");
  expect_refused(stream, tunnel::kStreamOriginUnreachable);
  EXPECT_THAT(agent_->faults(), Contains(HasSubstr("see whether the origin speaks TLS at this port")));
}

}  // namespace
}  // namespace culvert::agent
