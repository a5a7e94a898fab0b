#pragma once
#include <functional>
#include <string>

#include "agent/agent.h"
#include "net/event_loop.h"
#include "ops/options.h"

namespace culvert::cli {

// Runs an agent on this thread until it ends or a stop signal comes: the first says goodbye to the edges, a
// second ends the process at once. Until then its metrics and health are served where `ops` says. The agent's
// error when it could not start, or that of the address for metrics. `reload` is called where SIGHUP asks for
// that (net::HangUp).
Result<> run_in_foreground(net::EventLoop& loop, agent::Agent& agent, const ops::Options& ops,
                           std::function<void()> reload = nullptr);
// The series that are served then, all of them zero.
void describe_agent_metrics(Metrics& metrics);

// Runs `work` on this thread until it ends; false: a stop signal came first. Then `work` waits forever, its
// frames go with the loop.
bool run_until_signal(net::EventLoop& loop, net::Task<> work);

// What is said when a stop takes longer than people notice, with this many connections open; may be empty.
std::string stopping_notice(size_t open);

}  // namespace culvert::cli
