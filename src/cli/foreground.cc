#include "cli/foreground.h"

#include <cstdlib>

#include "cli/output.h"
#include "net/signals.h"

namespace culvert::cli {
namespace {

// The agent gives open connections 2 s; nothing else may keep the user any longer.
constexpr Duration kPatience = std::chrono::seconds(4);
// After the second signal: for the goodbye, without which the node would send requests here for seconds more.
constexpr Duration kLastWord = std::chrono::milliseconds(200);
// A user who waits longer than this has to be told why.
constexpr Duration kUnnoticed = std::chrono::milliseconds(300);

[[noreturn]] void leave(int status) {
  drain_output();
  std::_Exit(status);
}

net::Task<> serve(net::EventLoop& loop, agent::Agent& agent, Result<>& outcome) {
  outcome = co_await agent.run();
  loop.stop();
}

net::Task<> run_and_stop(net::EventLoop& loop, net::Task<> work, bool& ended) {
  co_await std::move(work);
  ended = true;
  loop.stop();
}

net::Task<> stop_at_signal(net::EventLoop& loop) {
  net::StopSignals signals(loop);
  co_await signals.next();
  loop.stop();
}

struct Ending {
  explicit Ending(net::EventLoop& loop) : patience(loop), notice(loop) {}
  net::Timer patience;
  net::Timer notice;
  int status = 0;
};

net::Task<> obey_signals(net::EventLoop& loop, agent::Agent& agent, Ending& ending) {
  net::StopSignals signals(loop);
  co_await signals.next();
  ending.patience.after(kPatience, [] { leave(0); });
  ending.notice.after(kUnnoticed, [&agent] {
    const std::string notice = stopping_notice(agent.open_connections());
    if (!notice.empty()) print_message("{}", notice);
  });
  agent.stop();
  co_await signals.next();
  ending.status = 130;  // what shells report for a program that Ctrl-C ended
  ending.patience.after(kLastWord, [] { leave(130); });
  agent.stop();
}

}  // namespace

bool run_until_signal(net::EventLoop& loop, net::Task<> work) {
  bool ended = false;
  net::TaskGroup tasks(loop);
  tasks.spawn(stop_at_signal(loop));
  tasks.spawn(run_and_stop(loop, std::move(work), ended));
  loop.run();
  return ended;
}

std::string stopping_notice(size_t open) {
  if (open == 0) return "";  // nothing else is waited for
  if (open == 1) return "1 open connection has 2 s to end; Ctrl-C again ends it now";
  return fmt::format("{} open connections have 2 s to end; Ctrl-C again ends them now", open);
}

Result<> run_in_foreground(net::EventLoop& loop, agent::Agent& agent) {
  Ending ending(loop);
  Result<> outcome;
  net::TaskGroup tasks(loop);
  tasks.spawn(obey_signals(loop, agent, ending));
  tasks.spawn(serve(loop, agent, outcome));
  loop.run();
  if (ending.status != 0) leave(ending.status);
  return outcome;
}

}  // namespace culvert::cli
