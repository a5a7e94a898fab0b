#include "cli/agent_command.h"

#include "agent/services.h"
#include "base/file.h"
#include "base/limits.h"
#include "net/platform.h"
#include "origin/service_text.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxServicesFile = 1024 * 1024;

CommandInfo command_info() {
  return {.name = "agent",
          .summary = "Serve local services through a node",
          .examples =
              "  culvert agent --token-file token --service app.example.com=localhost:3000,terminate\n"
              "  culvert agent --token-file token --service www.example.com=10.0.0.5:443,proxy=none\n"
              "  culvert agent --token-file token --tcp-service ssh=localhost:22,port=2222\n"
              "  culvert agent --token-file token --udp-service dns=localhost:53,port=53\n"
              "  CULVERT_TOKEN=... "
              "CULVERT_AGENT_SERVICES='[{\"hostname\":\"app.example.com\",\"origin\":\"localhost:3000\",\n"
              "    \"tls_mode\":\"terminate\",\"proxy_protocol\":\"none\"}]' culvert agent\n"};
}

Result<std::vector<agent::Service>> read_services(std::string_view path) {
  auto content = read_file(std::filesystem::path(path), kMaxServicesFile);
  if (!content) return std::unexpected(content.error());
  auto services = origin::parse_services(as_text(*content));
  if (!services) return fail(ErrorCode::kInvalid, "{}: {}", path, services.error().message);
  return services;
}

bool is_another(const hubapi::InviteToken& one, const hubapi::InviteToken& other) {
  return SecretString::take(one.encode()).expose() != SecretString::take(other.encode()).expose();
}

}  // namespace

AgentCommand::AgentCommand() : Command(command_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  token_.describe(builder);
  builder.add({.name = "service",
               .help = "a service; MODE is passthrough or terminate, P is v2 or none; may be repeated",
               .details =
                   "The origin is HOST:PORT, unix:/PATH or unix:@NAME. Further options: tls=NAME speaks TLS "
                   "with the origin and expects a certificate for that name, with insecure of anybody; "
                   "http=HOST:PORT or http=none is where challenges of the origin's own CA go on plain HTTP; "
                   "health=/PATH, health=tcp or health=tls asks the origin every 10s whether it works. In "
                   "the variable, services are separated by blanks.",
               .value_name = "HOSTNAME=ORIGIN[,MODE][,proxy=P][,OPTION]",
               .example = "app.example.com=localhost:3000,terminate",
               .form = SettingForm::kList,
               .separator = ' ',
               .may_change = true,
               .apply = [this](std::string_view text) -> Result<> {
                 auto service = origin::parse_service(text);
                 if (!service) return std::unexpected(service.error());
                 short_services_.push_back(std::move(*service));
                 return {};
               }});
  builder.add(
      {.name = "tcp-service",
       .help = "a service at a TCP port of the edges; P is v2 or none; may be repeated",
       .details =
           "Without a port the hub picks one, and keeps it for this name. The origin and further options are "
           "as those of a service. In the variable, services are separated by blanks.",
       .value_name = "NAME=ORIGIN[,port=N][,proxy=P][,OPTION]",
       .example = "ssh=localhost:22,port=2222",
       .form = SettingForm::kList,
       .separator = ' ',
       .may_change = true,
       .apply = [this](std::string_view text) -> Result<> {
         auto service = origin::parse_port_service(route::PortProtocol::kTcp, text);
         if (!service) return std::unexpected(service.error());
         short_services_.push_back(std::move(*service));
         return {};
       }});
  builder.add(
      {.name = "udp-service",
       .help = "a service at a UDP port of the edges; P is v2 or none; may be repeated",
       .details =
           "Without a port the hub picks one, and keeps it for this name. The origin can be neither a "
           "unix socket nor behind TLS, and has no health check. With a range of "
           "ports, 512 at most, its first goes to the origin's port and each further one to the next, or "
           "with ,origin-ports=one all to that. In the variable, services are separated by blanks.",
       .value_name = "NAME=HOST:PORT[,port=N[-M]][,proxy=P]",
       .example = "dns=localhost:53,port=53",
       .form = SettingForm::kList,
       .separator = ' ',
       .may_change = true,
       .apply = [this](std::string_view text) -> Result<> {
         auto service = origin::parse_port_service(route::PortProtocol::kUdp, text);
         if (!service) return std::unexpected(service.error());
         short_services_.push_back(std::move(*service));
         return {};
       }});
  builder.add(
      {.name = "services",
       .help = "services as a JSON array of {hostname, origin, tls_mode, proxy_protocol}",
       .details =
           "Or of {protocol, name, origin, listen_port, proxy_protocol} for a port, where the protocol "
           "is \"tcp\" or \"udp\". With origin_server_name the agent speaks TLS with the origin: "
           "origin_ca_file instead of the system's roots, origin_cert_file and origin_key_file to show a "
           "certificate, origin_tls \"insecure\" to check none. health is \"tcp\", \"tls\", \"http\", a "
           "path, "
           "or an object {check, path, interval, timeout, fall, rise}. With \"udp\" the origin is a host and "
           "port, without TLS and health; listen_port may be a range like \"40000-40100\", whose ports lead "
           "to "
           "as many of the origin from its port on, or with origin_ports \"one\" to that port. In a file "
           "they may also be `[[agent.services]]` tables, see below.",
       .value_name = "JSON",
       .example = R"([{"hostname": "app.example.com", "origin": "localhost:3000"}])",
       .variable = "CULVERT_AGENT_SERVICES",
       .form = SettingForm::kJson,
       .may_change = true,
       .apply = [this](std::string_view text) -> Result<> {
         auto services = origin::parse_services(text);
         if (!services) return std::unexpected(services.error());
         json_services_ = std::move(*services);
         return {};
       }});
  builder.add({.name = "services-file",
               .help = "a file with such an array",
               .details = "It cannot be combined with services.",
               .value_name = "FILE",
               .example = "/etc/culvert/services.json",
               .variable = "CULVERT_AGENT_SERVICES_FILE",
               .may_change = true,
               .apply = [this](std::string_view text) -> Result<> {
                 auto services = read_services(text);
                 if (!services) return std::unexpected(services.error());
                 file_services_ = std::move(*services);
                 return {};
               }});
  agent::describe(builder, options_);
  ops::describe(builder, ops_);
  describe(builder, log_);
}

Result<std::vector<agent::Service>> AgentCommand::collect_services() const {
  if (json_services_ && file_services_) {
    return fail(ErrorCode::kInvalid, "{} and {}: both give services; keep one of them",
                settings_.source("services"), settings_.source("services-file"));
  }
  std::vector<agent::Service> services;
  if (json_services_) services = *json_services_;
  if (file_services_) services = *file_services_;
  services.insert(services.end(), short_services_.begin(), short_services_.end());
  if (services.empty()) {
    return fail(ErrorCode::kInvalid,
                "services: there are none. Give e.g. --service app.example.com=localhost:3000, --tcp-service "
                "ssh=localhost:22, --services-file or CULVERT_AGENT_SERVICES");
  }
  auto valid = origin::check_services(services);
  if (!valid) return fail(ErrorCode::kInvalid, "services: {}", valid.error().message);
  auto loaded = agent::load_origin_files(services, net::system_platform().unix_now());
  if (!loaded) return fail(loaded.error().code, "services: {}", loaded.error().message);
  return services;
}

Result<> AgentCommand::resolve(const Arguments& arguments, const Environment& environment) {
  arguments_ = arguments;
  environment_ = environment;
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto token = token_.read(settings_, {});
  if (!token) return std::unexpected(token.error());
  auto services = collect_services();
  if (!services) return std::unexpected(services.error());
  config_.emplace(agent::Config{.token = std::move(*token), .services = std::move(*services)});
  config_->options = options_;
  return {};
}

Result<ReloadReport> AgentCommand::reload(
    const std::function<void(std::vector<agent::Service>)>& set_services) {
  AgentCommand wanted;
  auto resolved = wanted.resolve(arguments_, environment_);
  if (!resolved) {
    Result<ReloadReport> refused = std::unexpected(join_problems(wanted.settings_, resolved.error()));
    log_reload(refused);
    return refused;
  }
  Result<ReloadReport> report = take_changes(settings_, wanted.settings_);
  set_log_options(wanted.log_);
  if (is_another(config_->token, wanted.config_->token))
    report->needs_restart.emplace_back("token: another one");
  if (wanted.config_->services != config_->services) {
    report->changed.push_back(
        fmt::format("services: {}, were {}", wanted.config_->services.size(), config_->services.size()));
    config_->services = wanted.config_->services;
    set_services(std::move(wanted.config_->services));
  }
  log_reload(report);
  return report;
}

Result<> AgentCommand::run() {
  auto limit = raise_descriptor_limit();
  if (!limit) log_warn("descriptor_limit", "reason={}", culvert::quoted(limit.error().message));
  log_info("agent_starting", "token={} services={}", culvert::quoted(config_->token.describe()),
           config_->services.size());

  net::EventLoop loop;
  agent::AgentObserver logging;
  agent::Agent agent(loop, *config_, logging);
  auto served = run_in_foreground(loop, agent, ops_, [&] {
    (void)reload([&agent](std::vector<agent::Service> services) { agent.set_services(std::move(services)); });
  });
  if (!served) {
    return fail(served.error().code, "the agent did not start, and does not retry: {}",
                served.error().message);
  }
  return {};
}

std::unique_ptr<Command> make_agent_command() { return std::make_unique<AgentCommand>(); }

}  // namespace culvert::cli
