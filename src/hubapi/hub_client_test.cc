#include "hubapi/hub_client.h"

#include <gtest/gtest.h>

#include <optional>

#include "http/date.h"
#include "http/server.h"
#include "http/signature.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::hubapi {
namespace {

using namespace std::chrono_literals;
using net::Task;

TimePoint soon() { return monotonic_now() + 20s; }

const UnixTime kHubTime{1'700'000'000s};
UnixTime g_local{};
UnixTime local_clock() { return g_local; }

SecretKey key_of(uint64_t seed) {
  SeededRandom random(seed);
  return SecretKey::generate(random);
}

TEST(ErrorFromResponse, KeepsTheHubsReasonAndMeaning) {
  struct Case {
    int status;
    ErrorCode code;
  };
  for (const Case& c :
       {Case{400, ErrorCode::kInvalid}, Case{401, ErrorCode::kUnauthorized},
        Case{403, ErrorCode::kUnauthorized}, Case{404, ErrorCode::kNotFound}, Case{405, ErrorCode::kInvalid},
        Case{408, ErrorCode::kUnavailable}, Case{409, ErrorCode::kConflict},
        Case{410, ErrorCode::kUnauthorized}, Case{422, ErrorCode::kInvalid},
        Case{429, ErrorCode::kUnavailable}, Case{500, ErrorCode::kUnavailable},
        Case{503, ErrorCode::kUnavailable}, Case{302, ErrorCode::kInvalid}}) {
    Error error = error_from_response(c.status, R"({"error":{"code":"x","message":"the reason"}})");
    EXPECT_EQ(error.code, c.code) << c.status;
    EXPECT_EQ(error.message, "the reason");
  }
  for (const char* body : {"", "<html>", "[]", "{}", R"({"error":1})", R"({"error":{"message":1}})"}) {
    EXPECT_NE(error_from_response(502, body).message.find("502"), std::string::npos) << body;
  }
}

// Hubs on loopback that answer what they are told to.
class HubClientTest : public testing::Test {
 public:
  struct FakeHub {
    std::unique_ptr<net::TcpListener> listener;
    tls::IdentityPtr identity;
    std::optional<http::Response> answer;  // nullopt: hangs up once the request is there
    std::vector<http::Request> requests;
    bool checks_time = false;   // of signatures, by kHubTime
    std::string instance = {};  // that requests have to be signed for; empty: any
    size_t connections = 0;
    std::unique_ptr<http::Server> server = nullptr;
  };

  HubUrl start(std::optional<http::Response> answer, const SecretKey& key) {
    auto listener = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {});
    EXPECT_TRUE(listener.has_value());
    HubUrl url{"127.0.0.1", (*listener)->local_addr().port()};
    hubs_.push_back(std::make_unique<FakeHub>(FakeHub{
        std::move(*listener), *tls::self_signed_identity(key, "x", unix_now()), std::move(answer), {}}));
    FakeHub& hub = *hubs_.back();
    hub.server = std::make_unique<http::Server>(
        loop_, http::ServerOptions{},
        [this, &hub](http::Exchange& exchange) { return respond(hub, exchange); });
    return url;
  }
  // A port where nothing listens.
  HubUrl closed_url() {
    auto listener = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {});
    return {"127.0.0.1", (*listener)->local_addr().port()};
  }

  void play(Task<> story) {
    for (auto& hub : hubs_) tasks_.spawn(accept_all(*hub));
    tasks_.spawn(then_end(std::move(story)));
    loop_.run();
    EXPECT_EQ(tasks_.size(), 0u);
  }
  Task<> then_end(Task<> story) {
    co_await std::move(story);
    for (auto& hub : hubs_) hub->listener->close();
  }
  Task<> accept_all(FakeHub& hub) {
    while (true) {
      auto accepted = co_await hub.listener->accept();
      if (!accepted) co_return;
      tasks_.spawn(serve(hub, std::move(*accepted)));
    }
  }
  Task<> serve(FakeHub& hub, std::unique_ptr<net::ByteStream> transport) {
    auto stream = co_await tls::accept(std::move(transport), {}, hub.identity, {}, soon());
    if (stream) ++hub.connections;
    if (stream) co_await hub.server->serve(std::move(*stream));
  }
  Task<> respond(FakeHub& hub, http::Exchange& exchange) {
    auto body = co_await exchange.read_all(64 * 1024);
    EXPECT_TRUE(body);
    hub.requests.push_back(exchange.request);
    if (!hub.answer) {
      exchange.abort();
      co_return;
    }
    http::Response answer = *hub.answer;
    if (hub.checks_time) {
      answer.headers.add("Date", http::format_date(kHubTime));
      auto verified = http::verify_request(hub.requests.back(), kLeaseTag, kHubTime);
      if (!verified) answer.status = 401;
    }
    const std::string* named = exchange.request.headers.find(http::kInstanceField);
    if (!hub.instance.empty() && (named == nullptr || *named != hub.instance)) {
      answer = {.status = 401, .headers = {}, .body = R"({"error":{"message":"sign again"}})"};
      answer.headers.add(std::string(http::kInstanceField), hub.instance);
    }
    auto sent = co_await exchange.respond(std::move(answer));
    (void)sent;
  }

  InviteToken token() const { return {{"https://hub.example"}, key_.public_key(), {}, {}, key_of(9)}; }
  Declaration declaration() const {
    return {
        {}, {}, key_of(5).public_key(), {{*route::HostPattern::parse("a.eu"), route::TlsMode::kTerminate}}};
  }
  http::Response lease() const {
    return {.status = 200,
            .headers = {},
            .body = encode(LeaseAnswer{.tenant = key_of(9).public_key(),
                                       .granted = {},
                                       .edges = {},
                                       .services = {},
                                       .public_port = 443,
                                       .internal_ca_pem = "",
                                       .renew_after = 30s})};
  }

  http::Response broken() const {
    return {.status = 503, .headers = {}, .body = R"({"error":{"code":"storage","message":"disk full"}})"};
  }

  Task<> declares_signed() {
    HubClient client(loop_, urls_, key_.public_key());
    auto answer = co_await client.declare(token(), declaration());
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(hubs_[0]->requests.size(), 1u);
    if (hubs_[0]->requests.empty()) co_return;
    const http::Request& request = hubs_[0]->requests[0];
    EXPECT_EQ(request.target, "/v1/leases");
    auto verified = http::verify_request(request, kLeaseTag, unix_now());
    EXPECT_TRUE(verified.has_value()) << verified.error().message;
    if (verified) EXPECT_EQ(verified->key, key_of(9).public_key());
    EXPECT_EQ(*request.headers.find("host"), fmt::format("127.0.0.1:{}", urls_[0].port));
  }

  Task<> goes_on_to_the_url_that_answers() {
    HubClient client(loop_, urls_, key_.public_key());
    auto answer = co_await client.declare(token(), declaration());
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(hubs_[1]->requests.size(), 1u) << "hung up on";
    EXPECT_EQ(hubs_[2]->requests.size(), 1u);
    auto again = co_await client.declare(token(), declaration());
    EXPECT_TRUE(again.has_value());
    EXPECT_EQ(hubs_[1]->requests.size(), 1u) << "the one that answered is asked first";
    EXPECT_EQ(hubs_[2]->requests.size(), 2u);
    if (hubs_[2]->requests.size() == 2) {
      EXPECT_NE(*hubs_[2]->requests[0].headers.find("Signature-Input"),
                *hubs_[2]->requests[1].headers.find("Signature-Input"));
    }
  }

  // Answers as a hub does that sees a signature of another time than its own.
  Task<> signs_with_the_hubs_time() {
    g_local = kHubTime - 75s;
    HubClient client(loop_, urls_, key_.public_key(), local_clock);
    auto answer = co_await client.declare(token(), declaration(), key_of(5));
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(hubs_[0]->requests.size(), 2u) << "again at once";
    EXPECT_EQ(client.clock_warning(), "this machine's clock is 75 s behind the hub's");
    g_local = kHubTime + 1h;  // set while the client runs
    answer = co_await client.declare(token(), declaration(), key_of(5));
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(hubs_[0]->requests.size(), 3u) << "nothing is refused any more";
    EXPECT_EQ(client.clock_warning(), "this machine's clock is 3600 s ahead of the hub's");
    g_local = kHubTime;
    answer = co_await client.declare(token(), declaration());
    EXPECT_EQ(client.clock_warning(), std::nullopt);
    EXPECT_TRUE(http::has_signature(hubs_[0]->requests[2], kAgentTag));
    auto proof = http::verify_request(hubs_[0]->requests[2], kAgentTag, kHubTime);
    EXPECT_TRUE(proof.has_value() && proof->key == key_of(5).public_key());
    EXPECT_FALSE(http::has_signature(hubs_[0]->requests[3], kAgentTag));
  }

  // A hub that refuses for another reason is not asked twice.
  Task<> a_refusal_is_not_repeated() {
    g_local = kHubTime - 10s;
    HubClient client(loop_, urls_, key_.public_key(), local_clock);
    auto answer = co_await client.declare(token(), declaration());
    EXPECT_FALSE(answer.has_value());
    EXPECT_EQ(hubs_[0]->requests.size(), 1u);
  }

  // Once with every start of the hub, and behind one name that leads to two hubs on the same connection.
  Task<> signs_for_the_instance() {
    HubClient client(loop_, urls_, key_.public_key());
    FakeHub& hub = *hubs_[0];
    for (const size_t exchanges : {2u, 3u}) {
      auto answer = co_await client.declare(token(), declaration(), key_of(5));
      EXPECT_TRUE(answer.has_value()) << answer.error().message;
      EXPECT_EQ(hub.requests.size(), exchanges);
    }
    EXPECT_EQ(hub.connections, 2u) << "signed again on the same connection";
    EXPECT_EQ(*hub.requests.back().headers.find(http::kInstanceField), "first");
    EXPECT_TRUE(http::verify_request(hub.requests.back(), kLeaseTag, unix_now()));
    EXPECT_TRUE(http::verify_request(hub.requests.back(), kAgentTag, unix_now()));
    hub.instance = "second";
    auto answer = co_await client.declare(token(), declaration());
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(hub.requests.size(), 5u);
    EXPECT_EQ(*hub.requests.back().headers.find(http::kInstanceField), "second");
  }

  Task<> lists_every_reason() {
    HubClient client(loop_, urls_, key_.public_key());
    auto answer = co_await client.declare(token(), declaration());
    EXPECT_FALSE(answer.has_value());
    if (answer) co_return;
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    for (const HubUrl& url : urls_) {
      EXPECT_NE(answer.error().message.find(url.to_string()), std::string::npos) << answer.error().message;
    }
    EXPECT_NE(answer.error().message.find("another hub or server answers there"), std::string::npos)
        << answer.error().message;
    EXPECT_TRUE(hubs_[0]->requests.empty()) << "an impostor got the secret";
    EXPECT_FALSE(client.met_only_others()) << "the rest may come back";
    size_t others = 0;
    for (const HubUrl& url : urls_) {
      HubClient alone(loop_, {url}, key_.public_key());
      EXPECT_FALSE((co_await alone.declare(token(), declaration())).has_value());
      if (alone.met_only_others()) ++others;
    }
    EXPECT_EQ(others, 1u);
  }

  Task<> does_not_repeat_a_lost_post() {
    HubClient client(loop_, urls_, key_.public_key());
    auto lost = co_await client.call_operator("POST", "/v1/invites", "{}", "secret-key");
    EXPECT_EQ(lost.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(lost.error().message.find("took the request"), std::string::npos) << lost.error().message;
    EXPECT_EQ(lost.error().message.find("secret-key"), std::string::npos);
    EXPECT_EQ(hubs_[1]->requests.size(), 0u);
    auto listed = co_await client.call_operator("GET", "/v1/invites", "", "secret-key");
    EXPECT_TRUE(listed.has_value());
    EXPECT_EQ(*hubs_[1]->requests.at(0).headers.find("authorization"), "Bearer secret-key");
  }

  Task<> goes_on_past_a_broken_hub() {
    HubClient client(loop_, urls_, key_.public_key());
    for (size_t i = 1; i <= 2; ++i) {
      auto answer = co_await client.declare(token(), declaration());
      EXPECT_TRUE(answer.has_value()) << answer.error().message;
      EXPECT_EQ(hubs_[1]->requests.size(), i);
    }
    EXPECT_EQ(hubs_[0]->requests.size(), 1u) << "it must not be preferred";
    auto listed = co_await client.call_operator("GET", "/v1/invites", "", "k");
    EXPECT_TRUE(listed.has_value());
    // The preferred one breaks: the one that serves takes its place.
    hubs_[0]->answer = lease();
    hubs_[1]->answer = broken();
    for (size_t i = 2; i <= 3; ++i) {
      auto answer = co_await client.declare(token(), declaration());
      EXPECT_TRUE(answer.has_value()) << answer.error().message;
      EXPECT_EQ(hubs_[0]->requests.size(), i);
    }
    EXPECT_EQ(hubs_[1]->requests.size(), 4u) << "asked once more, then left";
  }

  Task<> names_every_broken_hub() {
    HubClient client(loop_, urls_, key_.public_key());
    for (const char* method : {"declare", "GET"}) {
      std::string message;
      ErrorCode code{};
      if (std::string_view(method) == "GET") {
        auto listed = co_await client.call_operator(method, "/v1/invites", "", "k");
        EXPECT_FALSE(listed.has_value());
        if (!listed) code = listed.error().code, message = listed.error().message;
        EXPECT_TRUE(client.has_answered());
      } else {
        auto answer = co_await client.declare(token(), declaration());
        EXPECT_FALSE(answer.has_value());
        if (!answer) code = answer.error().code, message = answer.error().message;
      }
      EXPECT_EQ(code, ErrorCode::kUnavailable);
      EXPECT_EQ(message.find("does not answer"), std::string::npos) << message;
      for (const HubUrl& url : urls_) {
        EXPECT_NE(message.find(url.to_string() + ": disk full"), std::string::npos) << message;
      }
    }
  }

  Task<> does_not_repeat_a_broken_post() {
    HubClient client(loop_, urls_, key_.public_key());
    auto refused = co_await client.call_operator("POST", "/v1/invites", "{}", "k");
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(refused.error().message, "disk full");
    EXPECT_EQ(hubs_[1]->requests.size(), 0u) << "it may have taken effect";
    auto again = co_await client.call_operator("POST", "/v1/invites", "{}", "k");
    EXPECT_TRUE(again.has_value());
    EXPECT_EQ(hubs_[0]->requests.size(), 1u) << "the broken one is not preferred";
  }

  Task<> says_that_the_hub_is_older() {
    HubClient client(loop_, urls_, key_.public_key());
    Declaration declared = declaration();
    auto refused = co_await client.declare(token(), declared);
    EXPECT_EQ(refused.error().message.find("older"), std::string::npos)
        << "what it knows it refused for itself";
    declared.is_exclusive = true;
    refused = co_await client.declare(token(), declared);
    EXPECT_NE(refused.error().message.find("the hub is older than this agent"), std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find("\"exclusive\""), std::string::npos);
  }

  Task<> signs_as_a_tenant() {
    HubClient client(loop_, urls_, key_.public_key());
    auto answer = co_await client.call_tenant("POST", "/v1/entries", "{}", token().tenant_key, "some-tag");
    EXPECT_TRUE(answer) << answer.error().message;
    const http::Request& request = hubs_[0]->requests.at(0);
    auto verified = http::verify_request(request, "some-tag", loop_.unix_now());
    EXPECT_TRUE(verified) << verified.error().message;
    if (verified) EXPECT_EQ(verified->key, token().tenant_key.public_key());
    EXPECT_EQ(request.headers.find("authorization"), nullptr);
  }

  Task<> an_error_is_an_answer() {
    HubClient client(loop_, urls_, key_.public_key());
    auto refused = co_await client.call_operator("GET", "/v1/invites", "", "k");
    EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(refused.error().message, "gone");
    EXPECT_EQ(hubs_[1]->requests.size(), 0u);
  }

  Task<> a_broken_answer_is_an_error() {
    HubClient client(loop_, urls_, key_.public_key());
    auto broken = co_await client.declare(token(), declaration());
    EXPECT_FALSE(broken.has_value());
    if (!broken) EXPECT_EQ(broken.error().code, ErrorCode::kInvalid);
  }

 protected:
  net::EventLoop loop_;
  net::TaskGroup tasks_{loop_};
  SecretKey key_ = key_of(1);
  std::vector<std::unique_ptr<FakeHub>> hubs_;
  std::vector<HubUrl> urls_;
};

TEST_F(HubClientTest, DeclaresWithASignature) {
  urls_ = {start(lease(), key_)};
  play(declares_signed());
}

TEST_F(HubClientTest, GoesOnToTheUrlThatAnswersAndRemembersIt) {
  urls_ = {closed_url(), start(lease(), key_of(2)), start(std::nullopt, key_), start(lease(), key_)};
  play(goes_on_to_the_url_that_answers());
}

TEST_F(HubClientTest, SignsWithTheHubsTimeAfterOneRefusal) {
  urls_ = {start(lease(), key_)};
  hubs_[0]->checks_time = true;
  play(signs_with_the_hubs_time());
}

TEST_F(HubClientTest, SignsForTheInstanceOfTheHub) {
  urls_ = {start(lease(), key_)};
  hubs_[0]->instance = "first";
  play(signs_for_the_instance());
}

TEST_F(HubClientTest, ARefusalForAnotherReasonIsNotRepeated) {
  urls_ = {start(http::Response{.status = 401, .headers = {}, .body = "{}"}, key_)};
  hubs_[0]->checks_time = true;
  play(a_refusal_is_not_repeated());
}

TEST_F(HubClientTest, ListsEveryUrlWithItsReason) {
  urls_ = {closed_url(), start(lease(), key_of(2)), {"name.invalid", 443}};
  play(lists_every_reason());
}

TEST_F(HubClientTest, DoesNotRepeatAPostWhoseAnswerWasLost) {
  urls_ = {start(std::nullopt, key_),
           start(http::Response{.status = 200, .headers = {}, .body = "{}"}, key_)};
  play(does_not_repeat_a_lost_post());
}

TEST_F(HubClientTest, GoesOnPastAHubThatCannotServe) {
  urls_ = {start(broken(), key_), start(lease(), key_)};
  play(goes_on_past_a_broken_hub());
}

TEST_F(HubClientTest, NamesEveryHubThatCannotServe) {
  urls_ = {start(broken(), key_), start(broken(), key_)};
  play(names_every_broken_hub());
}

TEST_F(HubClientTest, DoesNotRepeatAPostThatABrokenHubAnswered) {
  urls_ = {start(broken(), key_), start(http::Response{.status = 200, .headers = {}, .body = "{}"}, key_)};
  play(does_not_repeat_a_broken_post());
}

TEST_F(HubClientTest, SaysThatTheHubIsOlderThanWhatWasDeclared) {
  urls_ = {start(
      http::Response{.status = 400,
                     .headers = {},
                     .body =
                         R"({"error":{"code":"invalid_request","message":)"
                         R"json("the declaration has an unknown member \"exclusive\" (expected x)"}})json"},
      key_)};
  play(says_that_the_hub_is_older());
}

TEST_F(HubClientTest, SignsCallsOfATenant) {
  urls_ = {start(http::Response{.status = 200, .headers = {}, .body = "{}"}, key_)};
  play(signs_as_a_tenant());
}

TEST_F(HubClientTest, AnErrorIsAnAnswer) {
  http::Response gone{.status = 404, .headers = {}, .body = R"({"error":{"code":"x","message":"gone"}})"};
  urls_ = {start(gone, key_), start(lease(), key_)};
  play(an_error_is_an_answer());
}

TEST_F(HubClientTest, ABrokenAnswerIsAnError) {
  urls_ = {start(http::Response{.status = 200, .headers = {}, .body = "{}"}, key_)};
  play(a_broken_answer_is_an_error());
}

}  // namespace
}  // namespace culvert::hubapi
