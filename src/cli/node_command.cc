#include "cli/node_command.h"

#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "cli/output.h"
#include "cli/upgrade.h"
#include "net/event_loop.h"
#include "net/platform.h"
#include "net/signals.h"

namespace culvert::cli {
namespace {

std::vector<Switch> switches() {
  return {{.flag = "upgrade",
           .help = "start beside the running node, take over its sockets without a refused connection, and "
                   "let it end with its last connection"}};
}

CommandInfo command_info(node::Roles roles) {
  switch (roles) {
    case node::Roles::kHub:
      return {.name = "hub",
              .summary = "Run a hub alone: edges with tokens of their own serve the public",
              .examples =
                  "  culvert hub --public-url https://hub.example.com\n"
                  "  culvert edge-invite create --name paris\n",
              .switches = switches()};
    case node::Roles::kEdge:
      return {
          .name = "edge",
          .summary = "Run a public edge of a hub on another host",
          .examples =
              "  CULVERT_EDGE_TOKEN=cvt_edge_1... culvert edge\n"
              "  culvert edge --edge-token-file /etc/culvert/edge-token --edge-addr paris.example.com:443\n",
          .switches = switches()};
    case node::Roles::kHubAndEdge:
      break;
  }
  return {
      .name = "node",
      .summary = "Run a node: the hub and the public edge",
      .examples =
          "  culvert node --public-url https://hub.example.com\n"
          "  culvert node --listen 127.0.0.1:8443 --data-dir ./state    # try it on one machine\n"
          "  culvert node --config /etc/culvert/node.toml\n"
          "  culvert node --route app.example.com=127.0.0.1:3000,terminate    # an origin beside it, no "
          "agent\n"
          "  culvert node --upgrade --config /etc/culvert/node.toml     # after a new binary was installed\n",
      .switches = switches()};
}

Setting roles_setting(node::Roles& roles) {
  return {.name = "roles",
          .help = "what this process does: hub,edge, or one of them; an edge alone needs --edge-token-file",
          .value_name = "ROLES",
          .default_text = node::to_string(roles),
          .choices = {"hub,edge", "hub", "edge"},
          .apply = [&roles](std::string_view text) -> Result<> {
            const auto parsed = node::parse_roles(text);
            if (!parsed)
              return fail(ErrorCode::kInvalid, "{} are no roles (expected hub,edge, hub or edge)",
                          culvert::quoted(text));
            roles = *parsed;
            return {};
          }};
}

// First signal: drain. Second: stop now. Third: leave whatever the state.
net::Task<> obey_signals(net::EventLoop& loop, node::Node& node, std::function<void()> reload) {
  const net::HangUp hang_up = net::meaning_of_hang_up();
  net::StopSignals signals(loop, hang_up);
  for (int count = 1;; ++count) {
    int signal = co_await signals.next();
    if (signal == SIGHUP && hang_up == net::HangUp::kReloads) {
      node.post(reload);
      --count;
      continue;
    }
    log_info("stop_signal", "signal={} count={}", signal, count);
    if (count == 3) {
      drain_output();
      std::_Exit(1);
    }
    node.stop();
  }
}

}  // namespace

NodeCommand::NodeCommand(node::Roles roles)
    : Command(command_info(roles)), preset_(roles), settings_(info().name) {
  config_.roles = roles;
  SettingsBuilder builder = settings_.builder();
  data_dir_.describe(builder);
  if (roles == node::Roles::kHubAndEdge) builder.add(roles_setting(config_.roles));
  if (roles != node::Roles::kHub) edge_token_.describe(builder);
  node::describe(builder, config_);
  describe(builder, log_);
}

Result<> NodeCommand::resolve(const Arguments& arguments, const Environment& environment) {
  arguments_ = arguments;
  upgrades_ = arguments.has_switch("upgrade");
  environment_ = environment;
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto data_dir = data_dir_.path(environment);
  if (!data_dir) return std::unexpected(data_dir.error());
  config_.data_dir = std::move(*data_dir);
  auto token = edge_token_.read(settings_);
  if (!token) return std::unexpected(token.error());
  config_.edge_token = std::move(*token);
  auto routable = node::check_routes(config_);
  if (!routable) return routable;
  auto loaded = edge::load_origin_files(config_.edge.routes, net::system_platform().unix_now());
  if (!loaded) return fail(loaded.error().code, "route {}", loaded.error().message);
  return {};
}

Result<> NodeCommand::run() {
  if (upgrades_ && !is_successor(environment_)) return run_upgrade();
  config_.takes_over = upgrades_;
  config_.on_serving = [this] { tell_of_service(environment_, upgrades_); };
  config_.reload = [this] { return reload(); };
  auto node = node::Node::start(config_);
  if (!node) return std::unexpected(node.error());
  node_ = node->get();
  net::EventLoop signal_loop;
  net::TaskGroup signals(signal_loop);
  signals.spawn(obey_signals(signal_loop, **node, [this] { reload_at_signal(); }));
  std::thread signal_thread([&signal_loop] { signal_loop.run(); });
  auto served = (*node)->run();
  signal_loop.stop();
  signal_thread.join();
  node_ = nullptr;
  return served;
}

Result<ReloadReport> NodeCommand::reload() {
  NodeCommand wanted(preset_);
  auto resolved = wanted.resolve(arguments_, environment_);
  Result<ReloadReport> outcome;
  if (resolved) {
    outcome = take_changes(settings_, wanted.settings_);
    set_log_options(wanted.log_);
    if (node_ != nullptr) node_->reconfigure(wanted.config_);
  } else {
    outcome = std::unexpected(join_problems(wanted.settings_, resolved.error()));
  }
  log_reload(outcome);
  return outcome;
}

void NodeCommand::reload_at_signal() {
  auto report = reload();
  if (report && node_ != nullptr) node_->note_reload(std::move(*report));
}

std::vector<std::unique_ptr<Command>> make_node_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  for (node::Roles roles : {node::Roles::kHubAndEdge, node::Roles::kHub, node::Roles::kEdge})
    commands.push_back(std::make_unique<NodeCommand>(roles));
  return commands;
}

}  // namespace culvert::cli
