#include <csignal>

#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "ca/file_store.h"
#include "ca/server.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/output.h"
#include "net/resolver.h"
#include "net/signals.h"
#include "node/data_dir.h"
#include "ops/options.h"
#include "ops/process.h"
#include "ops/server.h"
#include "tls/root_certificate.h"

namespace culvert::cli {
namespace {

CommandInfo command_info() {
  return {
      .name = "ca serve",
      .summary = "Run an ACME server that issues certificates of the internal CA, for laboratories and tests",
      .examples =
          "  culvert ca serve\n"
          "  culvert ca serve --listen 192.0.2.1:14000 --domains lab.example.com --dns-server 192.0.2.53\n"
          "  culvert node --acme-directory https://localhost:14000/directory --acme-root ca.pem\n"};
}

net::Task<Metrics> metrics_of(net::EventLoop& loop, const ca::Server& server, UnixTime started) {
  Metrics metrics;
  ops::report_process(kVersion, started, metrics);
  server.report(metrics);
  net::report(net::resolver_counters(loop), metrics);
  co_return metrics;
}

// The server has one thread: one that answers is not stuck, and has all that it needs.
net::Task<ops::Faults> no_faults() { co_return ops::Faults{}; }

net::Task<> serve_until_signal(net::EventLoop& loop, ca::Server& server, ops::Server* ops) {
  net::StopSignals signals(loop, net::meaning_of_hang_up());
  int signal = SIGHUP;
  // A server without a terminal is told by SIGHUP to read its settings again: these do not change.
  while (signal == SIGHUP) {
    signal = co_await signals.next();
    if (net::meaning_of_hang_up() == net::HangUp::kStops) break;
  }
  log_info("stop_signal", "signal={}", signal);
  co_await server.stop();
  if (ops != nullptr) co_await ops->stop();
  loop.stop();
}

class CaServeCommand final : public Command {
 public:
  CaServeCommand() : Command(command_info()), settings_(info().name) {
    SettingsBuilder builder = settings_.builder();
    data_dir_.describe(builder);
    node::describe_ca_directory(builder, places_.ca_directory);
    ca::describe(builder, options_);
    ops::describe(builder, ops_);
    culvert::describe(builder, log_);
  }
  const Settings* settings() const override { return &settings_; }
  const LogOptions* log_options() const override { return &log_; }
  void describe_metrics(Metrics& metrics) const override {
    ops::report_process(kVersion, UnixTime{}, metrics);
    ca::describe_metrics(metrics);
    net::report(net::ResolverCounters{}, metrics);
  }

  Result<> resolve(const Arguments& arguments, const Environment& environment) override {
    auto resolved = settings_.resolve(arguments, environment);
    if (!resolved) return resolved;
    auto path = data_dir_.path(environment);
    if (!path) return std::unexpected(path.error());
    path_ = std::move(*path);
    auto name = ca::server_name(options_);
    if (!name) return std::unexpected(name.error());
    auto external = ca::external_account(options_);
    return external ? Result<>() : std::unexpected(external.error());
  }

  Result<> run() override {
    const node::DataDir files{path_, places_};
    net::EventLoop loop;
    auto created = files.create();
    if (!created) return created;
    auto root = files.load_or_create_ca(loop.unix_now());
    if (!root) return std::unexpected(root.error());
    auto certificate = tls::RootCertificate::from_pem((*root)->certificate_pem());
    if (!certificate) {
      return fail(certificate.error().code, "{}: {}", files.ca_certificate().native(),
                  certificate.error().message);
    }
    auto store = ca::FileStore::open(path_ / "acme-ca");
    if (!store) return std::unexpected(store.error());
    auto server = ca::Server::start(loop, options_, std::move(*root), *store);
    if (!server) return std::unexpected(server.error());
    auto ops = serve_ops(loop, **server);
    if (!ops) return std::unexpected(ops.error());
    tell(**server, *certificate, files.ca_certificate());
    standard_output().start_thread();
    net::TaskGroup tasks(loop);
    tasks.spawn(serve_until_signal(loop, **server, ops->get()));
    loop.run();
    return {};
  }

 private:
  Result<std::unique_ptr<ops::Server>> serve_ops(net::EventLoop& loop, const ca::Server& server) const {
    if (!ops_.listen) return nullptr;
    const UnixTime started = loop.unix_now();
    auto ops = ops::Server::listen(
        loop, *ops_.listen,
        {.metrics = [&loop, &server, started] { return metrics_of(loop, server, started); },
         .health = no_faults,
         .readiness = no_faults});
    if (!ops) return fail(ops.error().code, "metrics: {}", ops.error().message);
    return ops;
  }

  static void tell(const ca::Server& server, const tls::RootCertificate& root,
                   const std::filesystem::path& path) {
    const std::string directory = server.directory_url();
    log_info("ca_started", "directory={} listen={} root={} fingerprint={}", culvert::quoted(directory),
             server.local_addr().to_string(), culvert::quoted(path.native()), root.fingerprint());
    print_line("ACME directory: {}", directory);
    print_line("root certificate: {} ({})", path.native(), server.url("/root.pem"));
    print_line("SHA-256 fingerprint: {}", root.fingerprint());
    print_line("");
    print_line("Get certificates from it:");
    print_line("  culvert node --acme-directory {} --acme-root {}", directory, path.native());
    print_line("  REQUESTS_CA_BUNDLE={} certbot certonly --standalone --server {} -d NAME", path.native(),
               directory);
    print_line("Trust them on a machine of the laboratory:");
    print_line("  sudo culvert ca trust --url {} --fingerprint {}", directory, root.fingerprint());
  }

  Settings settings_;
  DataDir data_dir_;
  std::filesystem::path path_;
  node::FilePlaces places_;
  ca::Options options_;
  ops::Options ops_;
  LogOptions log_;
};

}  // namespace

std::unique_ptr<Command> make_ca_serve_command() { return std::make_unique<CaServeCommand>(); }

}  // namespace culvert::cli
