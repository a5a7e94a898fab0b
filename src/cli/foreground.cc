#include "cli/foreground.h"

#include <csignal>
#include <cstdlib>

#include "base/version.h"
#include "cli/output.h"
#include "net/signals.h"
#include "ops/process.h"
#include "ops/server.h"

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

net::Task<> serve(net::EventLoop& loop, agent::Agent& agent, ops::Server* ops, Result<>& outcome) {
  outcome = co_await agent.run();
  if (ops != nullptr) co_await ops->stop();
  loop.stop();
}

net::Task<Metrics> metrics_of(const agent::Agent& agent, UnixTime started) {
  Metrics metrics;
  ops::report_process(kVersion, started, metrics);
  agent.report(metrics);
  co_return metrics;
}

net::Task<ops::Faults> faults_of(const agent::Agent& agent) { co_return agent.faults(); }

net::Task<std::string> status_of(const agent::Agent& agent) { co_return agent::to_json(agent.status()); }

// An agent has one thread: one that answers is not stuck.
net::Task<ops::Faults> no_faults() { co_return ops::Faults{}; }

Result<std::unique_ptr<ops::Server>> serve_ops(net::EventLoop& loop, const agent::Agent& agent,
                                               const ops::Options& options) {
  if (!options.listen) return nullptr;
  const UnixTime started = loop.unix_now();
  auto server = ops::Server::listen(loop, *options.listen,
                                    {.metrics = [&agent, started] { return metrics_of(agent, started); },
                                     .health = no_faults,
                                     .readiness = [&agent] { return faults_of(agent); },
                                     .status = [&agent] { return status_of(agent); }});
  if (!server) return fail(server.error().code, "metrics: {}", server.error().message);
  return server;
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

net::Task<> obey_signals(net::EventLoop& loop, agent::Agent& agent, Ending& ending,
                         std::function<void()> reload) {
  const net::HangUp hang_up = reload ? net::meaning_of_hang_up() : net::HangUp::kStops;
  net::StopSignals signals(loop, hang_up);
  while (true) {
    const int signal = co_await signals.next();
    if (signal != SIGHUP || hang_up == net::HangUp::kStops) break;
    reload();
  }
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

void describe_agent_metrics(Metrics& metrics) {
  ops::report_process(kVersion, UnixTime{}, metrics);
  agent::describe_metrics(metrics);
}

Result<> run_in_foreground(net::EventLoop& loop, agent::Agent& agent, const ops::Options& options,
                           std::function<void()> reload) {
  auto ops = serve_ops(loop, agent, options);
  if (!ops) return std::unexpected(ops.error());
  Ending ending(loop);
  Result<> outcome;
  net::TaskGroup tasks(loop);
  tasks.spawn(obey_signals(loop, agent, ending, std::move(reload)));
  tasks.spawn(serve(loop, agent, ops->get(), outcome));
  loop.run();
  if (ending.status != 0) leave(ending.status);
  return outcome;
}

}  // namespace culvert::cli
