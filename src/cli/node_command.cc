#include "cli/node_command.h"

#include <cstdlib>
#include <thread>

#include "cli/output.h"
#include "net/event_loop.h"
#include "net/signals.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {.name = "node",
          .summary = "Run a node: the hub and the public edge",
          .examples =
              "  culvert node --public-url https://hub.example.com\n"
              "  culvert node --listen 127.0.0.1:8443 --data-dir ./state    # try it on one machine\n"
              "  culvert node --config /etc/culvert/node.toml\n"};
}

// First signal: drain. Second: stop now. Third: leave whatever the state.
net::Task<> obey_signals(net::EventLoop& loop, node::Node& node) {
  net::StopSignals signals(loop);
  for (int count = 1;; ++count) {
    int signal = co_await signals.next();
    log_info("stop_signal", "signal={} count={}", signal, count);
    if (count == 3) {
      drain_output();
      std::_Exit(1);
    }
    node.stop();
  }
}

}  // namespace

NodeCommand::NodeCommand() : Command(command_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  data_dir_.describe(builder);
  node::describe(builder, config_);
  describe(builder, log_level_);
}

Result<> NodeCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto data_dir = data_dir_.path(environment);
  if (!data_dir) return std::unexpected(data_dir.error());
  config_.data_dir = std::move(*data_dir);
  return {};
}

Result<> NodeCommand::run() {
  set_log_level(log_level_);
  auto node = node::Node::start(config_);
  if (!node) return std::unexpected(node.error());
  net::EventLoop signal_loop;
  net::TaskGroup signals(signal_loop);
  signals.spawn(obey_signals(signal_loop, **node));
  std::thread signal_thread([&signal_loop] { signal_loop.run(); });
  (*node)->run();
  signal_loop.stop();
  signal_thread.join();
  return {};
}

std::unique_ptr<Command> make_node_command() { return std::make_unique<NodeCommand>(); }

}  // namespace culvert::cli
