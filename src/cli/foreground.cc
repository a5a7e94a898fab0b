#include "cli/foreground.h"

#include <cstdio>
#include <cstdlib>

#include "net/signals.h"

namespace culvert::cli {
namespace {

// The agent gives open streams 2 s; an origin that hangs in connect must not hold the user any longer.
constexpr Duration kPatience = std::chrono::seconds(4);

[[noreturn]] void leave(int status) {
  std::fflush(nullptr);
  std::_Exit(status);
}

net::Task<> serve(net::EventLoop& loop, agent::Agent& agent) {
  co_await agent.run();
  loop.stop();
}

net::Task<> obey_signals(net::EventLoop& loop, agent::Agent& agent, net::Timer& patience) {
  co_await net::wait_for_stop_signal(loop);
  patience.after(kPatience, [] { leave(0); });
  agent.stop();
  co_await net::wait_for_stop_signal(loop);
  leave(130);  // what shells report for a program that Ctrl-C ended
}

}  // namespace

void run_in_foreground(net::EventLoop& loop, agent::Agent& agent) {
  net::Timer patience(loop);
  net::TaskGroup tasks(loop);
  tasks.spawn(obey_signals(loop, agent, patience));
  tasks.spawn(serve(loop, agent));
  loop.run();
}

}  // namespace culvert::cli
