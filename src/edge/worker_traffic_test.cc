#include "edge/worker_traffic.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "route/testing.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using route::Traffic;
using route::TrafficBy;
using route::TrafficOrder;

EndpointId id(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }

class WorkerTrafficTest : public ::testing::Test {
 protected:
  static route::Route route_of(std::string_view host, uint8_t tenant, const std::vector<EndpointId>& agents) {
    route::Route route = route::testing::route(host, agents);
    route.tenant = id(tenant);
    return route;
  }
  WorkerTraffic::Use begin(const route::Route& route, uint8_t agent) {
    return traffic_.begin(route, route::Target{id(agent)}, now_);
  }
  void forget_gone(std::vector<route::Route> routes) {
    traffic_.forget_gone(*route::Snapshot::of(std::move(routes), 1), now_);
  }
  route::TrafficSums sums(TrafficBy by) const {
    std::vector<route::TrafficRow> rows;
    traffic_.read(rows);
    return route::sum_traffic(rows, by, TrafficOrder::kName);
  }
  Traffic route_traffic(std::string_view name) const {
    Traffic all;
    for (const auto& sum : sums(TrafficBy::kRoute).named) {
      if (sum.name == name) all += sum.traffic;
    }
    return all;
  }

  TimePoint now_ = TimePoint() + 1h;
  WorkerTraffic traffic_{4};
};

TEST_F(WorkerTrafficTest, CountsWhatIsOpenWhileBytesMove) {
  const route::Route a = route_of("a.test", 1, {id(11), id(12)});
  WorkerTraffic::Use first = begin(a, 11);
  WorkerTraffic::Use second = begin(a, 11);
  first.moved().add_to_stream(100);
  EXPECT_EQ(route_traffic("a.test"), (Traffic{.open = 2, .begun = 2, .bytes_in = 100}));
  second.moved().add_to_socket(7);
  EXPECT_EQ(route_traffic("a.test").bytes_out, 7u);
  second = {};
  WorkerTraffic::Use other = begin(a, 12);
  EXPECT_EQ(route_traffic("a.test"), (Traffic{.open = 2, .begun = 3, .bytes_in = 100, .bytes_out = 7}));
  EXPECT_EQ(sums(TrafficBy::kAgent).named.size(), 2u);
  traffic_.refused(a.id(), a.tenant, now_);
  EXPECT_EQ(route_traffic("a.test").refused, 1u);
}

TEST_F(WorkerTrafficTest, KeepsWhatIsUsedAgain) {
  const route::Route a = route_of("a.test", 1, {id(11)});
  begin(a, 11).moved().add_to_stream(5);
  now_ += WorkerTraffic::kKept + 1s;
  forget_gone({a});
  begin(a, 11).moved().add_to_stream(5);
  EXPECT_EQ(route_traffic("a.test"), (Traffic{.begun = 2, .bytes_in = 10}));
  EXPECT_EQ(sums(TrafficBy::kAgent).named.size(), 1u);
}

TEST_F(WorkerTrafficTest, GivesTheNumbersOfATargetThatIsGoneToItsRoute) {
  begin(route_of("a.test", 1, {id(11), id(12)}), 11).moved().add_to_stream(5);
  const route::Route without = route_of("a.test", 1, {id(12)});
  now_ += WorkerTraffic::kKept - 1s;
  forget_gone({without});
  EXPECT_EQ(sums(TrafficBy::kAgent).named.size(), 1u) << "it may come back";
  now_ += 2s;
  forget_gone({without});
  EXPECT_EQ(sums(TrafficBy::kAgent).named.size(), 0u);
  EXPECT_EQ(route_traffic("a.test"), (Traffic{.begun = 1, .bytes_in = 5}));
}

TEST_F(WorkerTrafficTest, GivesTheNumbersOfARouteThatIsGoneToItsTenant) {
  begin(route_of("a.test", 1, {id(11)}), 11).moved().add_to_stream(5);
  begin(route_of("b.test", 1, {id(11)}), 11).moved().add_to_socket(6);
  now_ += WorkerTraffic::kKept + 1s;
  // Another tenant has one of the names now.
  forget_gone({route_of("b.test", 2, {id(11)})});
  EXPECT_EQ(sums(TrafficBy::kRoute).named.size(), 0u);
  const route::TrafficSums tenants = sums(TrafficBy::kTenant);
  ASSERT_EQ(tenants.named.size(), 1u);
  EXPECT_EQ(tenants.named[0].name, id(1).to_string());
  EXPECT_EQ(tenants.named[0].traffic, (Traffic{.begun = 2, .bytes_in = 5, .bytes_out = 6}));
}

// Its connections are cut, and until they have ended their pumps count.
TEST_F(WorkerTrafficTest, ForgetsNothingThatIsOpen) {
  WorkerTraffic::Use open = begin(route_of("a.test", 1, {id(11)}), 11);
  now_ += 2 * WorkerTraffic::kKept;
  forget_gone({});
  EXPECT_EQ(route_traffic("a.test").open, 1u);
  open = {};
  now_ += WorkerTraffic::kKept;
  forget_gone({});
  EXPECT_EQ(route_traffic("a.test"), Traffic{});
  EXPECT_EQ(sums(TrafficBy::kTenant).named[0].traffic.begun, 1u);
}

// With the entry of nobody, there is room for three.
TEST_F(WorkerTrafficTest, ForgetsWhatRestsForLongestWhenItIsFull) {
  for (const char* host : {"a.test", "b.test", "c.test"})
    begin(route_of(host, 1, {id(11)}), 11).moved().add_to_stream(1);
  begin(route_of("a.test", 1, {id(11)}), 11).moved().add_to_stream(1);
  EXPECT_EQ(traffic_.size(), 4u);
  begin(route_of("d.test", 1, {id(11)}), 11).moved().add_to_stream(1);
  EXPECT_EQ(traffic_.size(), 4u);
  EXPECT_EQ(route_traffic("a.test").bytes_in, 2u) << "it was used last";
  EXPECT_EQ(route_traffic("b.test").bytes_in, 0u);
  EXPECT_EQ(sums(TrafficBy::kTenant).named[0].traffic, (Traffic{.begun = 5, .bytes_in = 5}));
}

TEST_F(WorkerTrafficTest, HasABoundWhateverNamesThereAre) {
  for (uint8_t tenant = 1; tenant <= 50; ++tenant) {
    const std::string host = std::to_string(tenant) + ".test";
    begin(route_of(host, tenant, {id(tenant)}), tenant).moved().add_to_stream(1);
    EXPECT_LE(traffic_.size(), 4u);
  }
  EXPECT_EQ(sums(TrafficBy::kRoute).total, (Traffic{.begun = 50, .bytes_in = 50}));
}

TEST_F(WorkerTrafficTest, CountsForNobodyWhenAllIsOpen) {
  std::vector<WorkerTraffic::Use> open;
  for (uint8_t tenant = 1; tenant <= 6; ++tenant) {
    open.push_back(begin(route_of(std::to_string(tenant) + ".test", tenant, {id(tenant)}), tenant));
    open.back().moved().add_to_socket(1);
  }
  EXPECT_EQ(traffic_.size(), 4u);
  EXPECT_EQ(sums(TrafficBy::kRoute).others, (Traffic{.open = 3, .begun = 3, .bytes_out = 3}));
  open.clear();
  EXPECT_EQ(sums(TrafficBy::kRoute).total, (Traffic{.begun = 6, .bytes_out = 6}));
}

// Sums never go back, whatever is forgotten meanwhile.
TEST_F(WorkerTrafficTest, IsReadByOtherThreadsWhileItChanges) {
  std::atomic<bool> is_over = false;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!is_over) {
      const uint64_t bytes = sums(TrafficBy::kRoute).total.bytes_in;
      EXPECT_GE(bytes, last);
      last = bytes;
    }
  });
  for (int i = 0; i < 5'000; ++i) {
    const auto number = static_cast<uint8_t>(1 + i % 7);
    begin(route_of(std::to_string(number) + ".test", number, {id(1)}), 1).moved().add_to_stream(1);
  }
  is_over = true;
  reader.join();
  EXPECT_EQ(sums(TrafficBy::kRoute).total.bytes_in, 5'000u);
}

}  // namespace
}  // namespace culvert::edge
