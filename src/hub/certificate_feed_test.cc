#include "hub/certificate_feed.h"

#include <gmock/gmock.h>

#include "base/random.h"
#include "net/testing.h"

namespace culvert::hub {
namespace {

using net::testing::run_task;
using net::testing::run_until;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

hubapi::EdgeCertificate certificate(const std::string& name, std::string chain = "CHAIN") {
  return {.name = name, .chain = std::move(chain), .key = "KEY", .directory = "https://ca.test/dir"};
}

class CertificateFeedTest : public ::testing::Test {
 protected:
  using Update = std::optional<hubapi::CertificateUpdate>;

  Update next(const EndpointId& edge) {
    auto update = run_task(loop_, feed_.next(edge, has_[edge]));
    take(edge, update);
    return update;
  }
  void take(const EndpointId& edge, const Update& update) {
    if (!update) return;
    has_[edge].epoch = update->epoch;
    has_[edge].version = update->version;
  }
  net::Task<> ask(EndpointId edge, Update& into, bool& is_done) {
    into = co_await feed_.next(edge, has_[edge]);
    is_done = true;
  }
  net::Task<> wait_for_all(bool& is_taken, bool& is_done) {
    is_taken = co_await feed_.taken_by_all(loop_.now() + 30s);
    is_done = true;
  }

  net::EventLoop loop_;
  SeededRandom random_{5};
  const EndpointId paris_ = SecretKey::generate(random_).public_key();
  const EndpointId lyon_ = SecretKey::generate(random_).public_key();
  std::map<EndpointId, hubapi::CertificateRequest> has_;
  CertificateFeed feed_{loop_, "epoch"};
  net::TaskGroup tasks_{loop_};
};

TEST_F(CertificateFeedTest, AnEdgeGetsWhatItDoesNotHave) {
  const auto nothing = next(paris_);
  EXPECT_TRUE(nothing->is_restart && nothing->is_complete);
  feed_.put(certificate("a.test"));
  feed_.put(certificate("b.test"));
  feed_.put(certificate("b.test"));  // no change
  const auto both = next(paris_);
  EXPECT_FALSE(both->is_restart);
  EXPECT_THAT(both->certificates, ElementsAre(certificate("a.test"), certificate("b.test")));
  feed_.put(certificate("a.test", "NEWER"));
  feed_.remove_certificate("b.test");
  feed_.remove_certificate("c.test");  // it never had it
  const auto changes = next(paris_);
  EXPECT_THAT(changes->certificates, ElementsAre(certificate("a.test", "NEWER")));
  EXPECT_THAT(changes->removed_certificates, ElementsAre("b.test"));
  EXPECT_EQ(changes->version, 4u);
  // One that comes from another hub, or from another start of this one.
  has_[lyon_] = {.epoch = "other", .version = 3};
  const auto all = next(lyon_);
  EXPECT_TRUE(all->is_restart && all->is_complete);
  EXPECT_THAT(all->certificates, ElementsAre(certificate("a.test", "NEWER")));
}

TEST_F(CertificateFeedTest, ALongListComesInPieces) {
  const std::string chain(300 * 1024, 'x');
  for (int i = 0; i < 10; ++i) feed_.put(certificate(fmt::format("{}.test", i), chain));
  std::vector<std::string> names;
  int pieces = 0;
  for (bool is_complete = false; !is_complete; ++pieces) {
    const auto piece = next(paris_);
    EXPECT_EQ(piece->is_restart, pieces == 0);
    EXPECT_LE(piece->certificates.size(), 4u);
    for (const auto& each : piece->certificates) names.push_back(each.name);
    is_complete = piece->is_complete;
  }
  EXPECT_EQ(names.size(), 10u);
  EXPECT_EQ(pieces, 3);
}

TEST_F(CertificateFeedTest, RemovalsAreNotKeptForEver) {
  next(paris_);
  feed_.put(certificate("stays.test"));
  for (size_t i = 0; i <= CertificateFeed::kMaxRemovals; ++i) {
    feed_.put(certificate("gone.test" + std::to_string(i)));
    feed_.remove_certificate("gone.test" + std::to_string(i));
  }
  const auto all = next(paris_);
  EXPECT_TRUE(all->is_restart) << "what it has forgotten may be there yet";
  EXPECT_THAT(all->certificates, ElementsAre(certificate("stays.test")));
}

TEST_F(CertificateFeedTest, NewsEndTheWait) {
  next(paris_);
  Update update;
  bool is_done = false;
  tasks_.spawn(ask(paris_, update, is_done));
  net::testing::drain(loop_);
  EXPECT_FALSE(is_done);
  EXPECT_TRUE(feed_.is_following(paris_));
  const hubapi::EdgeChallenge challenge{
      .type = "http-01", .name = "a.test", .token = "t", .key_authorization = "t.k"};
  feed_.put(challenge);
  run_until(loop_, [&] { return is_done; });
  EXPECT_THAT(update->challenges, ElementsAre(challenge));
  take(paris_, update);
  feed_.remove(challenge);
  EXPECT_THAT(next(paris_)->removed_challenges, ElementsAre(challenge));
}

TEST_F(CertificateFeedTest, AllHaveItWhenEachHasAskedAgain) {
  next(paris_);
  next(lyon_);
  feed_.put(certificate("a.test"));
  bool is_taken = false, is_done = false;
  tasks_.spawn(wait_for_all(is_taken, is_done));
  next(paris_);
  next(lyon_);
  net::testing::drain(loop_);
  EXPECT_FALSE(is_done) << "they have been told, and may not have it";
  std::array<Update, 2> updates;
  std::array<bool, 2> done{};
  tasks_.spawn(ask(paris_, updates[0], done[0]));
  net::testing::drain(loop_);
  EXPECT_FALSE(is_done);
  tasks_.spawn(ask(lyon_, updates[1], done[1]));
  run_until(loop_, [&] { return is_done; });
  EXPECT_TRUE(is_taken);
  feed_.close();
  run_until(loop_, [&] { return done[0] && done[1]; });
  EXPECT_FALSE(updates[0]);
}

TEST_F(CertificateFeedTest, ARevokedEdgeIsToldNothingMore) {
  next(paris_);
  Update update;
  bool is_done = false;
  tasks_.spawn(ask(paris_, update, is_done));
  net::testing::drain(loop_);
  feed_.revoke(paris_);
  feed_.put(certificate("a.test"));
  run_until(loop_, [&] { return is_done; });
  EXPECT_FALSE(update);
  EXPECT_EQ(feed_.following(), 0u);
  EXPECT_TRUE(feed_.all_answer("http-01"));
}

TEST_F(CertificateFeedTest, AnEdgeWaitsInItsLastRequestOnly) {
  next(paris_);
  std::array<Update, 3> updates;
  std::array<bool, 3> done{};
  for (size_t i = 0; i < done.size(); ++i) tasks_.spawn(ask(paris_, updates[i], done[i]));
  run_until(loop_, [&] { return done[0] && done[1]; });
  EXPECT_FALSE(updates[0]);
  EXPECT_FALSE(updates[1]);
  EXPECT_FALSE(done[2]);
  EXPECT_EQ(feed_.following(), 1u);
  feed_.put(certificate("a.test"));
  run_until(loop_, [&] { return done[2]; });
  EXPECT_THAT(updates[2]->certificates, ElementsAre(certificate("a.test")));
}

TEST_F(CertificateFeedTest, WhatAllAnswer) {
  EXPECT_TRUE(feed_.all_answer("http-01"));
  has_[paris_].challenges = {"tls-alpn-01", "http-01"};
  has_[lyon_].challenges = {"tls-alpn-01"};
  next(paris_);
  EXPECT_TRUE(feed_.all_answer("http-01"));
  next(lyon_);
  EXPECT_FALSE(feed_.all_answer("http-01"));
  EXPECT_TRUE(feed_.all_answer("tls-alpn-01"));
  EXPECT_EQ(feed_.following(), 2u);
}

TEST(EdgeCertificates, AreReadAsTheyAreWritten) {
  const hubapi::CertificateRequest request{.epoch = "e", .version = 7, .challenges = {"http-01"}};
  EXPECT_EQ(hubapi::decode_certificate_request(hubapi::encode(request)), request);
  const hubapi::EdgeChallenge challenge{
      .type = "http-01", .name = "a.test", .token = "t", .key_authorization = "t.k"};
  const hubapi::CertificateUpdate update{.epoch = "e",
                                         .version = 9,
                                         .is_restart = true,
                                         .is_complete = true,
                                         .certificates = {certificate("*.a.test", "-----\nline\n")},
                                         .removed_certificates = {"b.test"},
                                         .challenges = {challenge},
                                         .removed_challenges = {challenge}};
  const SecretString text = hubapi::encode(update);
  EXPECT_EQ(hubapi::decode_certificate_update(text), update);
  for (size_t size = 0; size < text.expose().size(); ++size) {
    const auto cut = hubapi::decode_certificate_update(SecretString(text.expose().substr(0, size)));
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().message.find("KEY"), std::string::npos);
  }
  for (const char* wrong : {"{}", R"({"epoch":1,"version":0,"challenges":[]})",
                            R"({"epoch":"","version":-1,"challenges":[]})", R"({"epoch":"","version":0})"})
    EXPECT_FALSE(hubapi::decode_certificate_request(wrong)) << wrong;
}

}  // namespace
}  // namespace culvert::hub
