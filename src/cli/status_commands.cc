#include "cli/status_commands.h"

#include "base/json.h"
#include "base/text.h"
#include "cli/output.h"
#include "http/client.h"
#include "net/event_loop.h"
#include "net/tcp.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kHubAnswer = "the hub's answer";
constexpr Duration kLocalTime = std::chrono::seconds(10);

const std::vector<Column>& hub_columns() {
  static const std::vector<Column> columns = {
      {"status", "status", Show::kStatus},
      {"version", "version"},
      {"hub key", "hub_key"},
      {"started", "started_at", Show::kTime},
      {"URLs", "urls", Show::kList},
      {"tenants", "tenants"},
      {"suspended tenants", "suspended_tenants"},
      {"agents", "agents"},
      {"routes", "routes"},
      {"edges", "edges"},
      {"operator keys", "operator_keys"},
      {"database", "database", Show::kStatus},
      {"failing since", "database_failing_since", Show::kTime},
      {"revision", "revision"},
  };
  return columns;
}

Result<std::vector<std::string>> texts_of(std::string_view source, std::string_view text,
                                          std::string_view member) {
  auto body = parse_json_object(source, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(source, *body);
  std::vector<std::string> out = reader.texts(member);
  if (reader.error()) return std::unexpected(*reader.error());
  return out;
}

net::Task<> fetch_into(net::EventLoop& loop, SocketAddr address, std::string path,
                       Result<http::Response>& answer) {
  const TimePoint deadline = loop.now() + kLocalTime;
  auto stream = co_await net::tcp_connect(loop, address, deadline);
  if (!stream) {
    answer = std::unexpected(stream.error());
    co_return;
  }
  http::Request request{.method = "GET", .target = std::move(path), .headers = {}, .body = {}};
  request.headers.add("Connection", "close");
  answer = co_await http::fetch(**stream, address.to_string(), std::move(request), deadline);
}

}  // namespace

StatusCommand::StatusCommand()
    : OperatorCommand({.name = "status",
                       .summary = "Show what a hub has, and whether it works",
                       .examples = "  culvert status\n  culvert status -o json\n"}) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
  access_.describe(builder);
}

Result<> StatusCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return access_.find(settings_, environment);
}

Result<> StatusCommand::run() {
  auto answer = access_.call("GET", "/v1/status", "");
  if (!answer) return std::unexpected(answer.error());
  auto text = format_hub_status(*answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

Result<std::string> format_hub_status(std::string_view text, const OutputOptions& options) {
  auto out = format_object(text, hub_columns(), options);
  if (!out || options.format != OutputFormat::kTable) return out;
  auto warnings = texts_of(kHubAnswer, text, "warnings");
  if (!warnings) return std::unexpected(warnings.error());
  for (const std::string& warning : *warnings) *out += fmt::format("warning: {}\n", printable(warning));
  return out;
}

HealthCommand::HealthCommand()
    : OperatorCommand({.name = "health",
                       .summary = "Say by the exit status whether the hub works",
                       .examples =
                           "  culvert health\n"
                           "  culvert health || echo 'not all is well'    # 1: degraded, 4: not reached\n"}) {
  SettingsBuilder builder = settings_.builder();
  access_.describe(builder);
}

Result<> HealthCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  return access_.find(settings_, environment);
}

Result<> HealthCommand::run() {
  auto answer = access_.call("GET", "/v1/health", "");
  if (!answer) return std::unexpected(answer.error());
  auto fault = hub_fault(*answer);
  if (!fault) return std::unexpected(fault.error());
  if (*fault) return fail(ErrorCode::kUnavailable, "hub: {}", **fault);
  print("ok\n");
  return {};
}

Result<std::optional<std::string>> hub_fault(std::string_view text) {
  auto body = parse_json_object(kHubAnswer, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kHubAnswer, *body);
  const std::string status(reader.text("status"));
  if (reader.error()) return std::unexpected(*reader.error());
  if (status == "ok") return std::optional<std::string>();
  auto faults = texts_of(kHubAnswer, text, "faults");
  if (!faults) return std::unexpected(faults.error());
  std::string out = printable(status);
  for (const std::string& fault : *faults) out += "; " + printable(fault);
  return std::optional(std::move(out));
}

LocalCommand::LocalCommand(CommandInfo info) : Command(std::move(info)), settings_(this->info().name) {
  SettingsBuilder builder = settings_.builder();
  ops::describe(builder, options_);
}

Result<> LocalCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  if (options_.listen) return {};
  return fail(ErrorCode::kInvalid,
              "--metrics-listen (or CULVERT_METRICS_LISTEN): is missing; give the address that the agent was "
              "started with");
}

Result<LocalCommand::Answer> LocalCommand::get(std::string path) {
  SocketAddr address = *options_.listen;
  // One that listens on every address is on this one as well.
  if (address.is_unspecified()) address = SocketAddr::v4({127, 0, 0, 1}, address.port());
  net::EventLoop loop;
  Result<http::Response> answer = fail(ErrorCode::kClosed, "the call was interrupted");
  net::TaskGroup tasks(loop);
  tasks.spawn(fetch_into(loop, address, std::move(path), answer));
  loop.run();
  failure_status_ = answer ? ExitStatus::kFailed : ExitStatus::kUnreachable;
  if (answer) return Answer{answer->status, std::move(answer->body)};
  return fail(ErrorCode::kUnavailable, "nothing answers at {}: {}. Was it started with --metrics-listen {}?",
              address.to_string(), answer.error().message, options_.listen->to_string());
}

AgentStatusCommand::AgentStatusCommand()
    : LocalCommand({.name = "agent status",
                    .summary = "Show an agent's services, accepted or refused and why, and its edges",
                    .examples = "  culvert agent status --metrics-listen 127.0.0.1:9100\n"
                                "  culvert agent status -o json    # with CULVERT_METRICS_LISTEN\n"}) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
}

Result<> AgentStatusCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = LocalCommand::resolve(arguments, environment);
  if (!resolved) return resolved;
  return complete(output_, arguments, environment);
}

Result<> AgentStatusCommand::run() {
  auto answer = get("/status");
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 200)
    return fail(ErrorCode::kInvalid, "what answers there is no agent of this version (status {})",
                answer->status);
  auto text = format_agent_status(answer->body, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

Result<std::string> format_agent_status(std::string_view text, const OutputOptions& options) {
  constexpr std::string_view kSource = "the agent's answer";
  const std::vector<Column> facts = {{"status", "status", Show::kStatus},
                                     {"version", "version"},
                                     {"agent", "agent_id"},
                                     {"tenant", "tenant_id"},
                                     {"suspended", "suspended", Show::kYesNo}};
  auto out = format_object(text, facts, options);
  if (!out || options.format != OutputFormat::kTable) return out;
  const ListingInfo services{.member = "services",
                             .columns = {{"HOSTNAME", "hostname"},
                                         {"ORIGIN", "origin"},
                                         {"TLS", "tls_mode"},
                                         {"STATUS", "status", Show::kStatus},
                                         {"REASON", "reason"}}};
  const ListingInfo edges{.member = "edges",
                          .columns = {{"EDGE", "edge_id"},
                                      {"ADDRESSES", "addresses", Show::kList},
                                      {"CONNECTED", "connected", Show::kYesNo}}};
  for (const ListingInfo* listing : {&services, &edges}) {
    auto table = format_members(*listing, kSource, text, options);
    if (!table) return table;
    *out += "\n" + *table;
  }
  auto faults = texts_of(kSource, text, "faults");
  if (!faults) return std::unexpected(faults.error());
  for (const std::string& fault : *faults) *out += fmt::format("\nfault: {}", printable(fault));
  return *out + (faults->empty() ? "" : "\n");
}

AgentHealthCommand::AgentHealthCommand()
    : LocalCommand({.name = "agent health",
                    .summary = "Say by the exit status whether an agent serves all of its services",
                    .examples = "  culvert agent health --metrics-listen 127.0.0.1:9100\n"
                                "  culvert agent health    # in a container with CULVERT_METRICS_LISTEN\n"}) {
}

Result<> AgentHealthCommand::run() {
  auto answer = get("/readyz");
  if (!answer) return std::unexpected(answer.error());
  if (answer->status == 200) {
    print("ok\n");
    return {};
  }
  std::string reasons(answer->body.substr(0, answer->body.find_last_not_of('\n') + 1));
  for (size_t at = reasons.find('\n'); at != reasons.npos; at = reasons.find('\n', at))
    reasons.replace(at, 1, "; ");
  return fail(ErrorCode::kUnavailable, "not ready: {}", reasons);
}

std::vector<std::unique_ptr<Command>> make_status_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<StatusCommand>());
  commands.push_back(std::make_unique<HealthCommand>());
  commands.push_back(std::make_unique<AgentStatusCommand>());
  commands.push_back(std::make_unique<AgentHealthCommand>());
  return commands;
}

}  // namespace culvert::cli
