#pragma once
#include <memory>
#include <string>

#include "dns/server.h"
#include "dns/testing.h"
#include "net/testing.h"

namespace culvert::dns::testing {

// For tests: one of our own servers, with one zone.
struct Site {
  Site(net::EventLoop& its_loop, const SocketAddr& address, std::string_view apex,
       std::vector<Record> records = {})
      : loop(its_loop) {
    EXPECT_TRUE(authority.add(Zone::make({.apex = name(apex),
                                          .name_servers = {name("ns1.test")},
                                          .contact = name("hostmaster.test"),
                                          .records = std::move(records)})
                                  .value()));
    server = Server::listen(loop, address, authority).value();
  }
  ~Site() { stop(); }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  void stop() {
    if (!server) return;
    net::TaskGroup tasks(loop);
    tasks.spawn(server->stop());
    net::testing::run_until(loop, [&] { return tasks.size() == 0; });
    server.reset();
  }
  void put(std::string_view where, std::string value) {
    ASSERT_TRUE(authority.find(name(where))->put(name(where), std::move(value)));
  }
  uint16_t port() const { return server->local_addr().port(); }

  net::EventLoop& loop;
  Authority authority;
  std::unique_ptr<Server> server;
};

}  // namespace culvert::dns::testing
