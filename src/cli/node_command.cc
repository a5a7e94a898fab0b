#include "cli/node_command.h"

#include <CLI/App.hpp>
#include <cstdlib>
#include <thread>

#include "base/host_port.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/values.h"
#include "hubapi/token.h"
#include "net/event_loop.h"
#include "net/signals.h"

namespace culvert::cli {
namespace {

CLI::App& add_app(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("node", "Run a node: the hub and the public edge");
  app->footer(
      "Examples:\n"
      "  culvert node --public-url https://hub.example.com\n"
      "  culvert node --listen 127.0.0.1:8443 --data-dir ./state    # try it on one machine\n"
      "  culvert node --config /etc/culvert/node.conf");
  return *app;
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

NodeCommand::NodeCommand(CLI::App& parent) : Command(add_app(parent)), settings_(app(), true) {
  data_dir_.add_to(settings_);
  settings_.add({.key = "listen",
                 .value_name = "ADDR:PORT",
                 .help = "TCP address for the public and for the hub's API",
                 .default_text = "0.0.0.0:443",
                 .apply = store(config_.tcp_listen, parse_listen_addr)});
  settings_.add({.key = "udp-listen",
                 .value_name = "ADDR:PORT",
                 .help = "UDP address for tunnels",
                 .default_text = "the same as --listen",
                 .apply = store(config_.udp_listen, parse_listen_addr)});
  settings_.add({.key = "public-url",
                 .value_name = "URL,...",
                 .help = "https URLs where agents reach this hub; they go into tokens",
                 .default_text = "this host's first address and the TCP port",
                 .apply = [this](std::string_view text) -> Result<> {
                   auto url = hubapi::parse_hub_url(text);
                   if (!url) return std::unexpected(url.error());
                   config_.public_urls.push_back(url->to_string());
                   return {};
                 },
                 .separator = ','});
  settings_.add({.key = "edge-addr",
                 .value_name = "HOST:PORT,...",
                 .help = "where agents reach the UDP port, when that is mapped elsewhere",
                 .default_text = "the first public URL's host and the UDP port",
                 .apply = [this](std::string_view text) -> Result<> {
                   auto address = parse_host_port(text);
                   if (!address) return std::unexpected(address.error());
                   config_.edge_addrs.emplace_back(text);
                   return {};
                 },
                 .separator = ','});
  settings_.add({.key = "tls",
                 .value_name = "internal",
                 .help = "who signs the certificates of terminated services",
                 .default_text = "internal: a CA of this node, see `culvert ca export`",
                 .apply = [](std::string_view text) -> Result<> {
                   if (text == "internal") return {};
                   return fail(ErrorCode::kInvalid, "{} is not supported; the only choice is internal",
                               culvert::quoted(text));
                 }});
  settings_.add(
      {.key = "workers",
       .value_name = "N",
       .help = "threads that carry traffic",
       .default_text = "1",
       .apply = store(config_.workers, [](std::string_view text) { return parse_number(text, 1, 256); })});
  settings_.add({.key = "hello-timeout",
                 .value_name = "TIME",
                 .help = "from accept to a whole TLS ClientHello",
                 .default_text = "10s",
                 .apply = store(config_.hello_timeout, parse_duration)});
  settings_.add({.key = "drain-timeout",
                 .value_name = "TIME",
                 .help = "at stop: for open streams to end",
                 .default_text = "10s",
                 .apply = store(config_.drain_timeout, parse_duration)});
  settings_.add({.key = "max-connections",
                 .value_name = "N",
                 .help = "public connections at once",
                 .default_text = "20000",
                 .apply = store(config_.max_connections,
                                [](std::string_view text) { return parse_number(text, 1, 10'000'000); })});
  settings_.add({.key = "log-level",
                 .value_name = "LEVEL",
                 .help = "debug, info, warn or error",
                 .default_text = "info",
                 .apply = store(log_level_, parse_log_level)});
}

Result<> NodeCommand::resolve(const Environment& environment) {
  auto resolved = settings_.resolve(environment);
  if (!resolved) return resolved;
  auto data_dir = data_dir_.path(environment);
  if (!data_dir) return std::unexpected(data_dir.error());
  config_.data_dir = std::move(*data_dir);
  if (!settings_.has("udp-listen")) config_.udp_listen = config_.tcp_listen;
  if (config_.hello_timeout <= Duration::zero()) {
    return fail(ErrorCode::kInvalid, "{}: must be longer than nothing; give e.g. 10s",
                settings_.source("hello-timeout"));
  }
  return {};
}

Result<> NodeCommand::run() {
  set_log_level(log_level_);
  auto limit = raise_descriptor_limit();
  if (!limit) log_warn("descriptor_limit", "reason={}", culvert::quoted(limit.error().message));

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

std::unique_ptr<Command> make_node_command(CLI::App& parent) { return std::make_unique<NodeCommand>(parent); }

}  // namespace culvert::cli
