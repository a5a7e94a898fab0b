#include "origin/health_checks.h"

#include <gmock/gmock.h>

#include "agent/agent_fixture.h"
#include "agent/services.h"
#include "origin/service_text.h"

namespace culvert::agent {
namespace {

using origin::parse_service;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class HealthTest : public AgentTest {
 protected:
  ~HealthTest() override {
    answering_ = false;
    origin_->close();
  }
  // An origin that answers every request with `status_`.
  void answer_checks() { tasks_.spawn(answer_all()); }
  Task<> answer_all() {
    while (answering_) {
      auto accepted = co_await origin_->accept();
      if (!accepted) co_return;
      tasks_.spawn(answer_one(std::move(*accepted)));
    }
  }
  Task<> answer_one(std::unique_ptr<net::ByteStream> socket) {
    Bytes request(2048);
    auto got = co_await net::read_some(*socket, request, soon());
    if (!got || *got == 0) co_return;
    requests_.push_back(std::string(as_text(ByteView(request).first(*got))));
    const std::string answer = fmt::format("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", status_);
    auto sent = co_await net::write_all(*socket, as_bytes(answer), soon());
    (void)sent;  // the agent may be gone
  }
  Service service(const HealthCheck& check) {
    Service made =
        parse_service(fmt::format("new.test=127.0.0.1:{},terminate", origin_->local_addr().port())).value();
    made.health = check;
    return made;
  }
  static HealthCheck http_check() {
    return {.kind = HealthCheck::Kind::kHttp,
            .path = "/up",
            .interval = 100ms,
            .timeout = 100ms,
            .fall = 2,
            .rise = 2};
  }
  Status::Service status_of(std::string_view name) {
    for (const Status::Service& each : agent_->status().services) {
      if (each.service == name) return each;
    }
    return {};
  }

  bool answering_ = true;
  int status_ = 200;
  Events requests_;
};

TEST_F(HealthTest, AnAgentAsksAndTellsItsEdgesOfChanges) {
  more_services_ = {service(http_check())};
  answer_checks();
  start_and_link();
  wait([&] { return requests_.size() >= 2; });
  EXPECT_THAT(requests_[0], AllOf(HasSubstr("GET /up HTTP/1.1"), HasSubstr("Host: new.test"),
                                  HasSubstr("User-Agent: culvert-health")));
  EXPECT_THAT(health_, IsEmpty());
  EXPECT_EQ(status_of("new.test").health, "healthy");
  EXPECT_EQ(status_of("term.test").health, "");

  status_ = 503;
  wait([&] { return health_.size() == 1; });
  EXPECT_EQ(health_[0], (tunnel::Health{"new.test", false, "it answers its health check with status 503"}));
  EXPECT_EQ(status_of("new.test").health, "unhealthy");
  EXPECT_THAT(status_of("new.test").health_reason, HasSubstr("GET /up is answered with status 503"));
  EXPECT_THAT(agent_->faults(),
              Contains(AllOf(HasSubstr("does not pass its health check"), HasSubstr("look into"))));

  status_ = 302;
  wait([&] { return health_.size() == 2; });
  EXPECT_EQ(health_[1], (tunnel::Health{"new.test", true, ""}));
  EXPECT_THAT(agent_->faults(), IsEmpty());
}

TEST_F(HealthTest, ANewTunnelIsToldWhatDoesNotWork) {
  status_ = 500;
  more_services_ = {service(http_check())};
  answer_checks();
  start_and_link();
  wait([&] { return health_.size() == 1; });
  links_[0].connection->close(tunnel::kCloseDraining, "again");
  wait([&] { return links_.size() == 2 && health_.size() == 2; });
  EXPECT_EQ(health_[1], health_[0]);
}

TEST_F(HealthTest, AnOriginThatIsSlowOrSpeaksSomethingElseIsUnhealthy) {
  Service silent = service(http_check());
  more_services_ = {silent};
  start_and_link();  // nobody accepts
  wait([&] { return health_.size() == 1; });
  EXPECT_EQ(health_[0].reason, "it does not answer in time");
}

TEST_F(HealthTest, ConnectionsOfClientsCountAndTheAgentAsksUntilTheOriginIsBack) {
  const SocketAddr place = origin_->local_addr();
  start_and_link();
  origin_->close();
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(health_, IsEmpty());
    expect_refused(open(links_[0], "term.test", TlsMode::kTerminate), tunnel::kStreamOriginUnreachable);
  }
  wait([&] { return health_.size() == 1; });
  EXPECT_EQ(health_[0], (tunnel::Health{"term.test", false, "it does not accept connections"}));
  origin_ = net::TcpListener::listen(loop_, place, {}).value();
  wait([&] { return health_.size() == 2; });
  EXPECT_EQ(health_[1], (tunnel::Health{"term.test", true, ""}));
}

TEST_F(HealthTest, OtherServicesBeginAnewAndTheSameGoOn) {
  status_ = 500;
  more_services_ = {service(http_check())};
  answer_checks();
  start_and_link();
  wait([&] { return health_.size() == 1; });
  agent_->set_services({more_services_[0]});
  EXPECT_EQ(status_of("new.test").health, "unhealthy") << "it is the same";
  EXPECT_EQ(health_.size(), 1u);
  Service other = more_services_[0];
  other.health->path = "/other";
  other.health->interval = 1h;
  agent_->set_services({other});
  EXPECT_EQ(status_of("new.test").health, "healthy");
  wait([&] { return health_.size() == 2; });
  EXPECT_EQ(health_[1], (tunnel::Health{"new.test", true, ""}))
      << "edges forget what they were told of the former";
}

TEST_F(HealthTest, ThePlaceAmongAgentsIsToldInTheHello) {
  share_ = {.priority = 3, .weight = 40};
  start_and_link();
  ASSERT_EQ(hellos_.size(), 1u);
  EXPECT_EQ(hellos_[0].share, share_);
}

}  // namespace
}  // namespace culvert::agent
