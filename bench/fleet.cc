// A fleet of agents and edges at a hub's API, for `make bench`: agents that declare three services each, and
// edges that follow the routes. They carry nothing: what is measured is the hub.
//
//   bench_fleet AGENTS EDGES HUB_URL HUB_KEY OPERATOR_KEY_FILE
//
// Prints, as "name value" lines: how long all declarations took (declare_s), the 50th and 99th percentile of
// the time from an operator's change of one route to its arrival at every edge, over AGENTS/10, AGENTS/3 and
// all agents (change_p50_ms ROUTES MS), how long it took until all agents had a lease again after all were
// started anew (restart_s), and what was refused (refused).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/random.h"
#include "hubapi/edge_client.h"
#include "hubapi/hub_client.h"
#include "hubapi/route_replica.h"

namespace culvert {
namespace {

constexpr size_t kAgentsOfAnInvite = 32;  // twice as many fit: those before a restart have leases for a while
constexpr size_t kServices = 3;
constexpr size_t kAtOnce = 32;  // a hub takes 64 connections of one address
constexpr int kChanges = 100;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_fleet: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) die(fmt::format("{}: {}", what, result.error().message));
  return std::move(*result);
}

class Fleet {
 public:
  Fleet(size_t agents, size_t edges, const std::string& url, const std::string& hub_key,
        SecretString operator_key)
      : agents_(agents),
        edges_(edges),
        urls_{need(hubapi::parse_hub_url(url), "hub URL")},
        hub_key_(need(PublicKey::parse(hub_key), "hub key")),
        operator_key_(std::move(operator_key)),
        hub_(loop_, urls_, hub_key_),
        arrived_(loop_),
        tasks_(loop_) {}

  int run() {
    tasks_.spawn(measure());
    loop_.run();
    return 0;
  }

 private:
  struct Follower {
    Follower(net::EventLoop& loop, const hubapi::EdgeToken& token)
        : client(loop, token, "bench"), replica(token.hub_key) {}
    hubapi::EdgeClient client;
    hubapi::RouteReplica replica;
  };

  net::Task<boost::json::object> operate(std::string method, std::string path, std::string body) {
    auto answer =
        co_await hub_.call_operator(std::move(method), std::move(path), std::move(body), operator_key_);
    co_return need(parse_json_object("the answer", need(std::move(answer), "operator")), "operator");
  }

  net::Task<hubapi::InviteToken> invite(std::string hostname) {
    auto made = co_await operate("POST", "/v1/invites", fmt::format(R"({{"hostnames":["{}"]}})", hostname));
    co_return need(hubapi::parse_invite_token(std::string_view(made.at("token").as_string())), "token");
  }

  net::Task<> follow(Follower& follower) {
    auto ended =
        co_await follower.client.follow(std::nullopt, [this, &follower](std::string_view line) -> Result<> {
          auto event = follower.replica.take(line);
          if (!event) return std::unexpected(event.error());
          if (!std::holds_alternative<std::monostate>(*event)) arrived_.notify();
          return {};
        });
    die(fmt::format("an edge: {}", ended.error().message));
  }

  net::Task<> declare(size_t last) {
    while (next_ < last) {
      const size_t index = next_++;
      const hubapi::InviteToken& token = invites_[index / kAgentsOfAnInvite];
      const SecretKey key = SecretKey::generate(random_);
      hubapi::Declaration declaration{token.invite_id, token.invite_secret, key.public_key(), {}};
      for (size_t service = 0; service < kServices; ++service) {
        auto name = fmt::format("s{}-{}.t{}.example.com", index, service, index / kAgentsOfAnInvite);
        declaration.services.push_back(
            {need(route::HostPattern::parse(name), "hostname"), route::TlsMode::kPassthrough});
      }
      hubapi::HubClient client(loop_, urls_, hub_key_);
      while (true) {
        auto answer = co_await client.declare(token, declaration, key);
        if (answer) break;
        ++refused_;
        if (refused_ <= 3) std::fprintf(stderr, "refused: %s\n", answer.error().message.c_str());
        co_await net::sleep_for(loop_, std::chrono::milliseconds(200 + random_.below(1000)));
      }
      ++declared_;
    }
  }

  net::Task<double> declare_up_to(size_t from, size_t last) {
    const TimePoint began = loop_.now();
    next_ = from;
    declared_ = from;
    for (size_t i = 0; i < kAtOnce; ++i) tasks_.spawn(declare(last));
    while (declared_ < last) co_await net::sleep_for(loop_, std::chrono::milliseconds(10));
    co_return std::chrono::duration<double>(loop_.now() - began).count();
  }

  // Until every edge has the route as it should be.
  net::Task<double> change(const route::RouteId& id, std::string path, bool is_suspended) {
    const TimePoint began = loop_.now();
    tasks_.spawn([](Fleet& fleet, std::string where, bool suspended) -> net::Task<> {
      (void)co_await fleet.operate("PATCH", where, fmt::format(R"({{"suspended":{}}})", suspended));
    }(*this, std::move(path), is_suspended));
    const auto all_have = [&] {
      return std::ranges::all_of(followers_, [&](const Follower& each) {
        const route::Route* route = each.replica.routes()->find(id);
        return route != nullptr && route->is_suspended == is_suspended;
      });
    };
    while (!all_have()) co_await arrived_.wait();
    const double ms = std::chrono::duration<double, std::milli>(loop_.now() - began).count();
    co_await net::sleep_for(loop_, std::chrono::milliseconds(30));
    co_return ms;
  }

  net::Task<> measure_changes() {
    const route::RouteId id(need(route::HostPattern::parse("one.example.com"), "hostname"));
    const std::string path = "/v1/tenants/" + single_->tenant_key.public_key().to_string();
    std::vector<double> times;
    for (int i = 0; i < kChanges; ++i) times.push_back(co_await change(id, path, i % 2 == 0));
    std::ranges::sort(times);
    const size_t routes = followers_.front().replica.routes()->size();
    std::printf("change_p50_ms %zu %.1f\n", routes, times[times.size() / 2]);
    std::printf("change_p99_ms %zu %.1f\n", routes, times[times.size() * 99 / 100]);
    std::fflush(stdout);
  }

  net::Task<> measure() {
    for (size_t i = 0; i * kAgentsOfAnInvite < agents_; ++i)
      invites_.push_back(co_await invite(fmt::format("*.t{}.example.com", i)));
    single_ = co_await invite("one.example.com");
    for (size_t i = 0; i < edges_; ++i) {
      auto made = co_await operate("POST", "/v1/edges", fmt::format(R"({{"name":"bench{}"}})", i));
      followers_.emplace_back(
          loop_,
          need(hubapi::parse_edge_token(std::string_view(made.at("token").as_string())), "edge token"));
      tasks_.spawn(follow(followers_.back()));
    }
    const SecretKey key = SecretKey::generate(random_);
    hubapi::Declaration only{
        single_->invite_id,
        single_->invite_secret,
        key.public_key(),
        {{need(route::HostPattern::parse("one.example.com"), "hostname"), route::TlsMode::kPassthrough}}};
    (void)need(co_await hub_.declare(*single_, only, key), "declaration");
    double total = 0;
    size_t done = 0;
    for (const size_t up_to : {agents_ / 30, agents_ / 3, agents_}) {
      total += co_await declare_up_to(done, up_to);
      done = up_to;
      (void)need(co_await hub_.declare(*single_, only, key), "declaration");
      co_await measure_changes();
    }
    std::printf("declare_s %.1f\n", total);
    std::printf("restart_s %.1f\n", co_await declare_up_to(0, agents_));
    const size_t expected = agents_ * kServices + 1;
    while (!std::ranges::all_of(followers_,
                                [&](const Follower& f) { return f.replica.routes()->size() >= expected; }))
      co_await arrived_.wait();
    std::printf("refused %zu\n", refused_);
    std::fflush(stdout);
    std::quick_exit(0);
  }

  const size_t agents_;
  const size_t edges_;
  net::EventLoop loop_;
  SystemRandom random_;
  const std::vector<hubapi::HubUrl> urls_;
  const PublicKey hub_key_;
  const SecretString operator_key_;
  hubapi::HubClient hub_;
  std::vector<hubapi::InviteToken> invites_;
  std::optional<hubapi::InviteToken> single_;
  std::list<Follower> followers_;
  net::Notify arrived_;
  size_t next_ = 0;
  size_t declared_ = 0;
  size_t refused_ = 0;
  net::TaskGroup tasks_;
};

}  // namespace
}  // namespace culvert

int main(int argc, char** argv) {
  using namespace culvert;
  const long agents = argc == 6 ? std::atol(argv[1]) : 0;
  const long edges = argc == 6 ? std::atol(argv[2]) : 0;
  if (agents < 30 || edges < 1) {
    std::fputs("usage: see the head of bench/fleet.cc\n", stderr);
    return 2;
  }
  (void)raise_descriptor_limit();
  auto key = need(read_file(argv[5], 4096), "operator key");
  std::string text(as_text(key));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  Fleet fleet(static_cast<size_t>(agents), static_cast<size_t>(edges), argv[3], argv[4], SecretString(text));
  return fleet.run();
}
