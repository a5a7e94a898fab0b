#include "cli/status_commands.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/text.h"
#include "cli/local_status.h"
#include "cli/output.h"
#include "cli/traffic_command.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kHubAnswer = "the hub's answer";
constexpr std::string_view kEdgeAnswer = "the edge's answer";

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
      {"refused services", "refused_services"},
      {"edges", "edges"},
      {"open connections", "open_connections"},
      {"refused connections", "refused_connections"},
      {"bytes in", "bytes_in", Show::kBytes},
      {"bytes out", "bytes_out", Show::kBytes},
      {"certificates", "certificates"},
      {"failing of these", "failing_certificates"},
      {"first expiry", "first_expiry", Show::kTime},
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

Result<std::optional<std::string>> fault_of(std::string_view source, std::string_view text) {
  auto body = parse_json_object(source, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(source, *body);
  const std::string status(reader.text("status"));
  if (reader.error()) return std::unexpected(*reader.error());
  if (status == "ok" || status == "ready") return std::optional<std::string>();
  auto faults = texts_of(source, text, "faults");
  if (!faults) return std::unexpected(faults.error());
  std::string out = printable(status);
  for (const std::string& fault : *faults) out += "; " + printable(fault);
  return std::optional(std::move(out));
}

// What is added by hub::add_live_status().
std::vector<ListingInfo> live_sections(const std::string& shows_all) {
  const auto busiest = [&](std::string heading, std::string member, std::string_view by) {
    return ListingInfo{.member = std::move(member),
                       .columns = {{std::move(heading), "name"},
                                   {"INVITE", "tenant_name"},
                                   {"OPEN", "connections"},
                                   {"REFUSED", "refused"},
                                   {"IN", "bytes_in", Show::kBytes},
                                   {"OUT", "bytes_out", Show::kBytes}},
                       .shows_all = shows_all.empty() ? "" : fmt::format("{} --by {}", shows_all, by)};
  };
  return {
      busiest("ROUTE", "busiest_routes", "route"),
      busiest("TENANT", "busiest_tenants", "tenant"),
      {.member = "agent_tunnels",
       .columns = {{"AGENT", "agent_id"},
                   {"FROM", "remote"},
                   {"ROUND TRIP", "rtt_us", Show::kMicros},
                   {"UP", "age_secs", Show::kSpan},
                   {"OPEN", "connections"},
                   {"DRAINS", "draining", Show::kYesNo},
                   {"SILENT", "silent", Show::kYesNo}}},
      {.member = "former_processes", .columns = {{"FORMER PROCESS", "pid"}, {"CONNECTIONS", "connections"}}}};
}

Result<std::string> format_sections(const std::vector<ListingInfo>& lists, std::string_view what,
                                    std::string_view text, const OutputOptions& options) {
  std::string out;
  for (const ListingInfo& list : lists) {
    auto section = format_section(list, what, text, options);
    if (!section) return section;
    out += *section;
  }
  return out;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string shown_faults(const std::vector<std::string>& faults) {
  std::string out;
  for (const std::string& fault : faults) out += fmt::format("\nfault: {}", printable(fault));
  return out + (faults.empty() ? "" : "\n");
}

}  // namespace

StatusCommand::StatusCommand()
    : OperatorCommand({.name = "status",
                       .summary = "Show what a hub has, or an edge on this host, and whether it works",
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
  return edge_.find(access_, settings_, environment);
}

Result<> StatusCommand::run() {
  if (edge_) return show_edge();
  auto answer = access_.call("GET", "/v1/status", "");
  if (!answer) return std::unexpected(answer.error());
  auto text = format_hub_status(*answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

Result<> StatusCommand::show_edge() {
  auto answer = edge_.ask();
  if (!answer) return std::unexpected(answer.error());
  auto text = format_edge_status(*answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

Result<> EdgeOnThisHost::find(OperatorAccess& access, const Settings& settings,
                              const Environment& environment) {
  auto found = access.find_local_edge(settings, environment);
  if (!found) return std::unexpected(found.error());
  edge_ = *found;
  return edge_ ? Result<>() : access.find(settings, environment);
}

Result<std::string> EdgeOnThisHost::ask() {
  if (!edge_->metrics) {
    return fail(ErrorCode::kInvalid,
                "the edge on this host, {}, tells its status nowhere; start it with e.g. --metrics-listen "
                "127.0.0.1:9100 (CULVERT_METRICS_LISTEN)",
                edge_->id.short_text());
  }
  auto answer = get_locally(*edge_->metrics, "/status");
  if (!answer) {
    failure_status_ = ExitStatus::kUnreachable;
    return fail(answer.error().code, "the edge on this host does not answer: {}. Is `culvert edge` running?",
                answer.error().message);
  }
  auto body = parse_json_object(kEdgeAnswer, answer->body);
  if (answer->status != 200 || !body || !body->contains("edge_id")) {
    return fail(ErrorCode::kInvalid,
                "the process that answers at {} is not an edge of this version (status {})",
                edge_->metrics->to_string(), answer->status);
  }
  return std::move(answer->body);
}

Result<std::string> format_edge_status(std::string_view text, const OutputOptions& options) {
  const std::vector<Column> facts = {{"status", "status", Show::kStatus},
                                     {"version", "version"},
                                     {"edge", "edge_id"},
                                     {"name", "name", Show::kText, "not known yet"},
                                     {"region", "region"},
                                     {"started", "started_at", Show::kTime},
                                     {"addresses", "addresses", Show::kList},
                                     {"hub URLs", "hub_urls", Show::kList},
                                     {"hub", "hub", Show::kStatus},
                                     {"since", "hub_since", Show::kTime, "the start"},
                                     {"routes", "routes"},
                                     {"routes version", "routes_version", Show::kText, "none yet"},
                                     {"routes as of", "routes_as_of", Show::kTime, "never"},
                                     {"certificates", "certificates"},
                                     {"first expiry", "first_expiry", Show::kTime},
                                     {"tunnels", "tunnels"},
                                     {"connections", "connections"},
                                     {"refused connections", "refused_connections"},
                                     {"bytes in", "bytes_in", Show::kBytes},
                                     {"bytes out", "bytes_out", Show::kBytes}};
  auto out = format_object(text, facts, options);
  if (!out || options.format != OutputFormat::kTable) return out;
  auto sections = format_sections(live_sections({}), kEdgeAnswer, text, options);
  if (!sections) return sections;
  auto faults = texts_of(kEdgeAnswer, text, "faults");
  if (!faults) return std::unexpected(faults.error());
  return *out + *sections + shown_faults(*faults);
}

Result<std::string> format_hub_status(std::string_view text, const OutputOptions& options) {
  auto out = format_object(text, hub_columns(), options);
  if (!out || options.format != OutputFormat::kTable) return out;
  auto warnings = texts_of(kHubAnswer, text, "warnings");
  if (!warnings) return std::unexpected(warnings.error());
  std::vector<ListingInfo> lists = live_sections("culvert traffic");
  lists.push_back({.member = "refused",
                   .columns = {{"REFUSED", "wanted"}, {"INVITE", "invite_name"}, {"REASON", "reason"}}});
  lists.push_back({.member = "soonest_certificates",
                   .columns = {{"CERTIFICATE", "name"}, {"EXPIRES IN", "expires_in_secs", Show::kSpan}}});
  auto sections = format_sections(lists, kHubAnswer, text, options);
  if (!sections) return sections;
  *out += *sections;
  if (!warnings->empty()) *out += "\n";
  for (const std::string& warning : *warnings) *out += fmt::format("warning: {}\n", printable(warning));
  return out;
}

HealthCommand::HealthCommand()
    : OperatorCommand({.name = "health",
                       .summary = "Say by the exit status whether the hub works, or the edge on this host",
                       .examples =
                           "  culvert health\n"
                           "  culvert health || echo 'not all is well'    # 1: degraded, 4: not reached\n"}) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
  access_.describe(builder);
}

Result<> HealthCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return edge_.find(access_, settings_, environment);
}

Result<> HealthCommand::run() {
  auto answer = edge_ ? edge_.ask() : access_.call("GET", "/v1/health", "");
  if (!answer) return std::unexpected(answer.error());
  const std::string_view source = edge_ ? kEdgeAnswer : kHubAnswer;
  auto fault = edge_ ? edge_fault(*answer) : hub_fault(*answer);
  if (!fault) return std::unexpected(fault.error());
  auto faults = texts_of(source, *answer, "faults");
  if (!faults) return std::unexpected(faults.error());
  auto text = format_health(*fault ? "degraded" : "ok", *faults, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  if (*fault) return fail(ErrorCode::kUnavailable, "{}: {}", edge_ ? "edge" : "hub", **fault);
  return {};
}

Result<std::string> format_health(std::string_view status, const std::vector<std::string>& faults,
                                  const OutputOptions& options) {
  if (options.format == OutputFormat::kTable) return std::string(faults.empty() ? "ok\n" : "");
  json::array shown;
  for (const std::string& fault : faults) shown.push_back(json::string(fault));
  const json::object document{{"status", std::string(status)}, {"faults", std::move(shown)}};
  return format_object(json::serialize(document), {}, options);
}

Result<std::optional<std::string>> hub_fault(std::string_view text) { return fault_of(kHubAnswer, text); }
Result<std::optional<std::string>> edge_fault(std::string_view text) { return fault_of(kEdgeAnswer, text); }

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

Result<LocalAnswer> LocalCommand::get(std::string path) {
  auto answer = get_locally(*options_.listen, std::move(path));
  failure_status_ = answer ? ExitStatus::kFailed : ExitStatus::kUnreachable;
  if (answer) return answer;
  return fail(ErrorCode::kUnavailable, "{}. Was it started with --metrics-listen {}?", answer.error().message,
              options_.listen->to_string());
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
                             .columns = {{"SERVICE", "service"},
                                         {"ORIGIN", "origin"},
                                         {"TLS", "tls_mode"},
                                         {"PORT", "listen_port"},
                                         {"LAST PORT", "last_port"},
                                         {"STATUS", "status", Show::kStatus},
                                         {"REASON", "reason"},
                                         {"HEALTH", "health", Show::kStatus},
                                         {"OPEN", "connections"},
                                         {"IN", "bytes_in", Show::kBytes},
                                         {"OUT", "bytes_out", Show::kBytes}}};
  const ListingInfo edges{.member = "edges",
                          .columns = {{"EDGE", "edge_id"},
                                      {"ADDRESSES", "addresses", Show::kList},
                                      {"CONNECTED", "connected", Show::kYesNo},
                                      {"TO", "remote"},
                                      {"ROUND TRIP", "rtt_us", Show::kMicros}}};
  for (const ListingInfo* listing : {&services, &edges}) {
    auto table = format_members(*listing, kSource, text, options);
    if (!table) return table;
    *out += "\n" + *table;
  }
  auto faults = texts_of(kSource, text, "faults");
  if (!faults) return std::unexpected(faults.error());
  return *out + shown_faults(*faults);
}

AgentHealthCommand::AgentHealthCommand()
    : LocalCommand({.name = "agent health",
                    .summary = "Say by the exit status whether an agent serves all of its services",
                    .examples = "  culvert agent health --metrics-listen 127.0.0.1:9100\n"
                                "  culvert agent health    # in a container with CULVERT_METRICS_LISTEN\n"}) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
}

Result<> AgentHealthCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = LocalCommand::resolve(arguments, environment);
  if (!resolved) return resolved;
  return complete(output_, arguments, environment);
}

Result<> AgentHealthCommand::run() {
  auto answer = get("/readyz");
  if (!answer) return std::unexpected(answer.error());
  const bool is_ready = answer->status == 200;
  std::vector<std::string> faults;
  if (!is_ready) faults = lines_of(answer->body);
  if (!is_ready && faults.empty()) faults.push_back(fmt::format("it answers with status {}", answer->status));
  auto text = format_health(is_ready ? "ok" : "degraded", faults, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  if (!is_ready) return fail(ErrorCode::kUnavailable, "not ready: {}", fmt::join(faults, "; "));
  return {};
}

std::vector<std::unique_ptr<Command>> make_status_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<TrafficCommand>());
  commands.push_back(std::make_unique<StatusCommand>());
  commands.push_back(std::make_unique<HealthCommand>());
  commands.push_back(std::make_unique<AgentStatusCommand>());
  commands.push_back(std::make_unique<AgentHealthCommand>());
  return commands;
}

}  // namespace culvert::cli
