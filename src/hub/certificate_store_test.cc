#include "hub/certificate_store.h"

#include <gmock/gmock.h>

#include "hub/archive.h"
#include "hub/shared_certificates.h"
#include "hub/store_testing.h"

namespace culvert::hub {
namespace {

using net::testing::run_task;
using net::testing::run_until;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Kept;
using ::testing::Not;
using namespace std::chrono_literals;

constexpr const char* kDirectory = "https://ca.test/dir";

void run_to_end(net::EventLoop& loop, net::Task<> task) {
  net::TaskGroup tasks(loop);
  tasks.spawn(std::move(task));
  run_until(loop, [&] { return tasks.size() == 0; });
}

// Of a hub, over what it keeps.
struct Opened {
  Opened(net::EventLoop& loop, std::unique_ptr<Kept> its_kept, const SecretKey& hub_key)
      : kept(std::move(its_kept)),
        shared(loop, kept->state(), kept->ledger(), hub_key, fmt::format("{}", loop.random().u64())) {}
  ~Opened() {
    shared.set_listeners({});
    kept->ledger().close();
  }
  CertificateStore& store() { return shared.store(); }

  std::unique_ptr<Kept> kept;
  SharedCertificates shared;
};

class CertificateStoreTest : public testing::AnyStoreFixture {
 protected:
  static acme::Record record(const std::string& name, const std::string& key = "PRIVATE") {
    return {.name = name,
            .progress = {.failures = 2, .last_error = "why"},
            .certificate =
                acme::StoredCertificate{.chain = "CHAIN", .key = SecretString(key), .directory = kDirectory}};
  }
  std::unique_ptr<Opened> hub() { return std::make_unique<Opened>(loop_, must_open(), hub_key_); }
  bool put(Opened& hub, acme::Record record) {
    return run_task(loop_, hub.store().put(std::move(record))).has_value();
  }
  // What is in the database, as its export shows it.
  std::string text() {
    auto database = open_database();
    EXPECT_TRUE(database);
    return encode_archive((*database)->read_archive().value()).expose();
  }
  // Another program changes the record of this name.
  void change(Opened& hub, Record record) {
    ASSERT_TRUE(run_task(loop_, hub.kept->ledger().commit({.touches = {}, .judge = [&]() -> Result<Batch> {
                                                             return Batch{.records = {record}, .audit = {}};
                                                           }})));
  }

  SecretKey hub_key_ = SecretKey::generate(random_);
};

TEST_P(CertificateStoreTest, KeepsWhatAStoreOfFilesKeeps) {
  const acme::Account account{.key = tls::P256Key::generate(), .url = "https://ca.test/acct/1"};
  {
    auto one = hub();
    run_to_end(loop_, one->shared.apply_for_orders());
    EXPECT_FALSE(one->store().load("a.test").value());
    EXPECT_FALSE(one->store().load_account(kDirectory).value());
    EXPECT_EQ(one->store().load_budgets(), "");
    EXPECT_TRUE(put(*one, record("a.test")));
    EXPECT_TRUE(put(*one, record("*.a.test")));
    EXPECT_TRUE(put(*one, record("b.test")));
    EXPECT_TRUE(run_task(loop_, one->store().erase("b.test")));
    EXPECT_TRUE(run_task(loop_, one->store().put_account(kDirectory, account)));
    EXPECT_TRUE(run_task(loop_, one->store().put_budgets(R"({"orders":[]})")));
    EXPECT_FALSE(put(*one, record("../a")));
  }
  auto again = hub();
  const auto stored = again->store().load("a.test").value();
  ASSERT_TRUE(stored && stored->certificate);
  EXPECT_EQ(stored->progress, record("").progress);
  EXPECT_EQ(stored->certificate->chain, "CHAIN");
  EXPECT_EQ(stored->certificate->key.expose(), "PRIVATE");
  EXPECT_EQ(stored->certificate->directory, kDirectory);
  EXPECT_THAT(again->store().names().value(), ElementsAre("*.a.test", "a.test"));
  EXPECT_THAT(again->store().names_after("*.a.test", 10), ElementsAre("a.test"));
  const auto known = again->store().load_account(kDirectory).value();
  ASSERT_TRUE(known);
  EXPECT_EQ(known->url, account.url);
  EXPECT_EQ(known->key.point().x, account.key.point().x);
  EXPECT_EQ(again->store().load_budgets(), R"({"orders":[]})");
}

TEST_P(CertificateStoreTest, PrivateKeysAreSealedInTheDatabase) {
  const acme::Account account{.key = tls::P256Key::generate(), .url = ""};
  auto one = hub();
  run_to_end(loop_, one->shared.apply_for_orders());
  ASSERT_TRUE(put(*one, record("a.test", "PRIVATE a")));
  ASSERT_TRUE(put(*one, record("b.test", "PRIVATE b")));
  ASSERT_TRUE(run_task(loop_, one->store().put_account(kDirectory, account)));
  const std::string in_database = text();
  EXPECT_THAT(in_database, HasSubstr("CHAIN"));
  EXPECT_THAT(in_database, Not(HasSubstr("PRIVATE")));
  EXPECT_THAT(one->store().load_public("a.test").value()->certificate->key.expose(),
              Not(HasSubstr("PRIVATE")));

  // Who writes to the database cannot give a name the key of another one.
  const auto& bodies = one->kept->state().certificates.certificates();
  std::string swapped = bodies.at("a.test");
  acme::Record moved = acme::parse_record(SecretString(swapped)).value();
  moved.certificate->key = acme::parse_record(SecretString(bodies.at("b.test")))->certificate->key;
  change(*one,
         {.kind = std::string(Certificates::kKind), .key = "a.test", .body = acme::encode(moved).expose()});
  EXPECT_FALSE(one->store().load("a.test").value()->certificate);
  EXPECT_TRUE(one->store().load("b.test").value()->certificate);
  change(*one, {.kind = std::string(Certificates::kKind), .key = "b.test", .body = R"({"name":"b.test"})"});
  EXPECT_FALSE(one->store().load("b.test").value());
  one.reset();

  // Another node key is a hub that does not have them.
  hub_key_ = SecretKey::generate(random_);
  auto other = hub();
  EXPECT_FALSE(other->store().load("a.test").value()->certificate);
  EXPECT_FALSE(other->store().load_account(kDirectory).value());
}

TEST_P(CertificateStoreTest, ChallengesAreForAllEdges) {
  auto one = hub();
  run_to_end(loop_, one->shared.apply_for_orders());
  std::vector<std::string> told;
  one->shared.set_listeners({.challenge = [&](const acme::Challenge& challenge, bool is_pending) {
    told.push_back(fmt::format("{} {}", challenge.token, is_pending));
  }});
  const acme::Challenge challenge{.type = acme::ChallengeType::kHttp01,
                                  .name = "a.test",
                                  .token = "token",
                                  .key_authorization = "token.key"};
  EXPECT_TRUE(run_task(loop_, one->shared.add(challenge)));
  ASSERT_EQ(one->shared.challenges().size(), 1u);
  EXPECT_EQ(one->shared.challenges()[0].key_authorization, "token.key");
  EXPECT_TRUE(run_task(loop_, one->shared.remove(challenge)));
  EXPECT_THAT(one->shared.challenges(), IsEmpty());
  EXPECT_THAT(told, ElementsAre("token true", "token false"));
}

CULVERT_ON_EACH_DATABASE(CertificateStoreTest);

// Two hubs on one PostgreSQL.
class SharedCertificatesTest : public CertificateStoreTest {};

TEST_P(SharedCertificatesTest, OneHubOrdersAndAnotherGoesOn) {
  auto one = hub(), other = hub();
  for (Opened* each : {one.get(), other.get()}) each->kept->state().leases.hubs().beat();
  EXPECT_TRUE(run_task(loop_, one->kept->ledger().flush()));
  EXPECT_TRUE(run_task(loop_, other->kept->ledger().flush()));
  run_until(loop_, [&] { return one->kept->state().leases.hubs().count_others() == 1; });
  EXPECT_FALSE(one->shared.is_orderer() || other->shared.is_orderer());
  EXPECT_FALSE(put(*one, record("a.test"))) << "nobody orders yet";
  run_to_end(loop_, one->shared.apply_for_orders());
  run_to_end(loop_, other->shared.apply_for_orders());
  EXPECT_TRUE(one->shared.is_orderer());
  EXPECT_FALSE(other->shared.is_orderer());
  ASSERT_TRUE(put(*one, record("a.test")));
  EXPECT_FALSE(put(*other, record("a.test"))) << "only one writes";
  run_until(loop_, [&] { return other->store().load("a.test").value().has_value(); });
  EXPECT_EQ(other->store().load("a.test").value()->certificate->key.expose(), "PRIVATE");

  const acme::Challenge challenge{.type = acme::ChallengeType::kTlsAlpn01,
                                  .name = "a.test",
                                  .token = "token",
                                  .key_authorization = "token.key"};
  const TimePoint began = loop_.now();
  EXPECT_TRUE(run_task(loop_, one->shared.add(challenge)));
  EXPECT_GE(loop_.now() - began, SharedCertificates::kOtherHubs) << "edges of the other hub are told there";
  EXPECT_EQ(other->shared.challenges().size(), 1u);

  one.reset();  // says that it ends
  run_until(loop_, [&] { return other->kept->state().leases.hubs().count_others() == 0; });
  EXPECT_FALSE(other->shared.is_orderer());
  run_to_end(loop_, other->shared.apply_for_orders());
  EXPECT_TRUE(other->shared.is_orderer());
  EXPECT_TRUE(put(*other, record("b.test")));
}

// It was away for longer than the others wait, and does not know it yet.
TEST_P(SharedCertificatesTest, AHubThatIsTakenForDeadCannotWriteAnyMore) {
  auto one = hub(), other = hub();
  for (Opened* each : {one.get(), other.get()}) {
    each->kept->state().leases.hubs().beat();
    EXPECT_TRUE(run_task(loop_, each->kept->ledger().flush()));
  }
  run_to_end(loop_, one->shared.apply_for_orders());
  ASSERT_TRUE(put(*one, record("a.test")));
  for (unsigned beats = 0; beats <= Hubs::kMaxSilence; ++beats) {
    other->kept->state().leases.hubs().beat();
    EXPECT_TRUE(run_task(loop_, other->kept->ledger().flush()));
  }
  run_until(loop_, [&] { return other->kept->state().leases.hubs().count_others() == 0; });
  run_to_end(loop_, other->shared.apply_for_orders());
  EXPECT_TRUE(other->shared.is_orderer());
  const auto late = run_task(loop_, one->store().put(record("a.test", "LATE")));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kConflict);
  EXPECT_FALSE(one->shared.is_orderer());
  EXPECT_EQ(other->store().load("a.test").value()->certificate->key.expose(), "PRIVATE");
}

INSTANTIATE_TEST_SUITE_P(, SharedCertificatesTest, ::testing::Values(testing::DatabaseKind::kPostgres),
                         [](const auto& each) { return testing::to_string(each.param); });

}  // namespace
}  // namespace culvert::hub
