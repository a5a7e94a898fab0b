#include "cli/audit_command.h"

#include <boost/json/serialize.hpp>

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"
#include "base/values.h"
#include "cli/output.h"
#include "cli/values.h"
#include "cli/yaml.h"
#include "net/event_loop.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kPath = "/v1/audit";
// The hub answers earlier if there is something; hub::AuditHandler::kMaxWait.
constexpr int kWaitSeconds = 10;
// Until the next try after a hub that did not answer.
constexpr Duration kPause = std::chrono::seconds(2);

CommandInfo command_info() {
  return {.name = "audit list",
          .summary = "List who changed what, the newest first",
          .examples =
              "  culvert audit list\n"
              "  culvert audit list --actor grafana --since 24h\n"
              "  culvert audit list --follow -o json    # one entry a line, as they come\n",
          .switches = {
              {.flag = "follow", .help = "print entries as they are made, the oldest first, until stopped"}}};
}

ListingInfo listing() {
  return {.member = "entries",
          .columns = {{"NUMBER", "sequence"},
                      {"AT", "at", Show::kTime},
                      {"BY", "actor"},
                      {"ACTION", "action"},
                      {"SUBJECT", "subject"}}};
}

}  // namespace

AuditListCommand::AuditListCommand() : OperatorCommand(command_info()) {
  SettingsBuilder builder = settings_.builder();
  builder.section("audit");
  const auto add_filter = [&](std::string name, std::string help, std::string example) {
    builder.add({.name = name,
                 .help = std::move(help),
                 .value_name = "WORD",
                 .default_text = "all",
                 .default_is_words = true,
                 .example = std::move(example),
                 .variable = fmt::format("CULVERT_AUDIT_{}", name == "actor"    ? "ACTOR"
                                                             : name == "action" ? "ACTION"
                                                                                : "SUBJECT"),
                 .apply = [this, name](std::string_view text) -> Result<> {
                   if (text.empty())
                     return fail(ErrorCode::kInvalid, "is empty (expected what `culvert audit list` shows)");
                   filter_ += fmt::format("&{}={}", name, to_percent(text));
                   return {};
                 }});
  };
  add_filter("actor", "only what was done with this operator key, or by this tenant: 'tenant ID'",
             "operator.key");
  add_filter("action", "only this action, or all that begin with it and a dot", "invite");
  add_filter("subject", "only what was done to this: an invite's ID, a key's name", "grafana");
  builder.add({.name = "since",
               .help = "only what was done in the last 24h, 7d, ...",
               .value_name = "TIME",
               .default_text = "all",
               .default_is_words = true,
               .example = "24h",
               .variable = "CULVERT_AUDIT_SINCE",
               .apply = [this](std::string_view text) -> Result<> {
                 auto duration = parse_duration(text);
                 if (!duration) return std::unexpected(duration.error());
                 since_ = *duration;
                 return {};
               }});
  describe(builder, output_);
  access_.describe(builder);
}

Result<> AuditListCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  follows_ = arguments.has_switch("follow");
  if (since_) from_ = net::EventLoop().unix_now() - std::chrono::duration_cast<std::chrono::seconds>(*since_);
  return access_.find(settings_, environment);
}

std::string AuditListCommand::path() const {
  std::string query = filter_;
  if (from_) query += fmt::format("&since={}", std::max<int64_t>(0, from_->time_since_epoch().count()));
  return query.empty() ? std::string(kPath) : fmt::format("{}?{}", kPath, query.substr(1));
}

Result<> AuditListCommand::run() {
  if (follows_) return follow();
  auto text = fetch_listing(listing(), path(), output_,
                            [this](std::string path) { return access_.call("GET", std::move(path), ""); });
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

// Until it is stopped, or its reader has gone. A hub that restarts is waited for.
Result<> AuditListCommand::follow() {
  const Fetch fetch = [this](std::string path) { return access_.call("GET", std::move(path), ""); };
  // With --since what has been comes first; otherwise only where the log ends is asked for.
  auto piece = fetch_audit(from_ ? path() : fmt::format("{}?newer={}", kPath, INT64_MAX), fetch);
  if (!piece) return std::unexpected(piece.error());
  uint64_t newest = piece->newest;
  bool is_away = false;
  while (standard_output().error() == 0) {
    if (piece) {
      newest = std::max(newest, piece->newest);
      for (const std::string& entry : piece->entries) {
        auto line = format_audit_entry(entry, output_.format);
        if (!line) return std::unexpected(line.error());
        print("{}", *line);
      }
    } else if (piece.error().code != ErrorCode::kUnavailable) {
      return std::unexpected(piece.error());
    } else {
      if (!is_away) print_message("{}; waiting for it", piece.error().message);
      net::EventLoop loop;
      net::Timer timer(loop);
      timer.after(kPause, [] {});
      loop.run();
    }
    is_away = !piece;
    piece = fetch_audit(fmt::format("{}?newer={}&wait={}{}", kPath, newest, kWaitSeconds, filter_), fetch);
  }
  return {};
}

Result<AuditPiece> fetch_audit(const std::string& path, const Fetch& fetch) {
  constexpr std::string_view kSource = "the hub's answer";
  constexpr size_t kMaxPages = 10'000;
  AuditPiece out;
  std::string next_path = path;
  for (size_t page = 0; page < kMaxPages; ++page) {
    auto answer = fetch(next_path);
    if (!answer) return std::unexpected(answer.error());
    auto body = parse_json_object(kSource, *answer);
    if (!body) return std::unexpected(body.error());
    JsonReader reader(kSource, *body);
    for (const json::value& entry : reader.array("entries")) {
      if (entry.is_object()) out.entries.push_back(json::serialize(entry));
    }
    if (reader.has("newest"))
      out.newest = std::max(out.newest, static_cast<uint64_t>(reader.integer("newest", 0, INT64_MAX)));
    const std::string next(reader.optional_text("next"));
    if (reader.error()) return std::unexpected(*reader.error());
    if (next.empty()) {
      std::ranges::reverse(out.entries);
      return out;
    }
    next_path = fmt::format("{}{}after={}", path, path.contains('?') ? '&' : '?', to_percent(next));
  }
  return fail(ErrorCode::kLimit, "hub: its audit log has more than {} pages", kMaxPages);
}

Result<std::string> format_audit_entry(std::string_view text, OutputFormat format) {
  constexpr std::string_view kSource = "an entry of the audit log";
  if (format == OutputFormat::kJson) return printable_json(text) + "\n";
  if (format == OutputFormat::kYaml) {
    auto yaml = json_to_yaml(kSource, text);
    if (!yaml) return yaml;
    return "---\n" + *yaml;
  }
  auto entry = parse_json_object(kSource, text);
  if (!entry) return std::unexpected(entry.error());
  JsonReader reader(kSource, *entry);
  const int64_t at = reader.integer("at", 0, 253'402'300'799);  // the year 9999
  const std::string line = fmt::format("{}  {}  {}  {}", format_time(UnixTime(std::chrono::seconds(at))),
                                       reader.text("actor"), reader.text("action"), reader.text("subject"));
  if (reader.error()) return std::unexpected(*reader.error());
  return printable(line) + "\n";
}

}  // namespace culvert::cli
