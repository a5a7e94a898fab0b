#include "cli/traffic_command.h"

#include <boost/json/serialize.hpp>
#include <map>
#include <utility>

#include "base/json.h"
#include "cli/foreground.h"
#include "cli/output.h"
#include "net/event_loop.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr Duration kWatchInterval = std::chrono::seconds(2);
constexpr uint64_t kMostWatched = 20;
constexpr uint64_t kMostOfPage = 500;
constexpr std::string_view kSource = "the hub's answer";

ListingInfo listing(route::TrafficBy by, bool has_rates) {
  std::string heading = by == route::TrafficBy::kRoute    ? "ROUTE"
                        : by == route::TrafficBy::kTenant ? "TENANT"
                                                          : "AGENT";
  ListingInfo info{.member = "traffic", .columns = {{std::move(heading), "name"}}};
  if (by != route::TrafficBy::kTenant || !has_rates) info.columns.push_back({"INVITE", "tenant_name"});
  info.columns.push_back({"OPEN", "connections"});
  if (!has_rates) info.columns.push_back({"BEGUN", "begun"});
  info.columns.push_back({"REFUSED", "refused"});
  info.columns.push_back({"IN", "bytes_in", Show::kBytes});
  info.columns.push_back({"OUT", "bytes_out", Show::kBytes});
  if (has_rates) {
    info.columns.push_back({"IN/S", "bytes_in_per_sec", Show::kBytes});
    info.columns.push_back({"OUT/S", "bytes_out_per_sec", Show::kBytes});
  }
  return info;
}

struct Reading {
  json::object answer;
  int64_t clock_ms = 0;

  json::array& entries() { return answer.at("traffic").get_array(); }
};

Result<Reading> read(std::string_view text) {
  auto body = parse_json_object(kSource, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kSource, *body);
  const int64_t clock_ms = reader.integer("clock_ms", 0, INT64_MAX);
  if (reader.error()) return std::unexpected(*reader.error());
  const json::value* entries = body->if_contains("traffic");
  if (entries == nullptr || !entries->is_array())
    return fail(ErrorCode::kInvalid, "{} has no list of traffic. Is it a Culvert hub of this version?",
                kSource);
  return Reading{std::move(*body), clock_ms};
}

int64_t number(const json::object& entry, std::string_view member) {
  const json::value* value = entry.if_contains(json::string_view(member.data(), member.size()));
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

std::string text_of(const json::object& entry, std::string_view member) {
  const json::value* value = entry.if_contains(json::string_view(member.data(), member.size()));
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::pair<std::string, std::string> key_of(const json::object& entry) {
  return {text_of(entry, "name"), text_of(entry, "tenant_id")};
}

}  // namespace

Result<std::string> add_rates(std::string_view before, std::string_view now) {
  auto old = read(before);
  if (!old) return std::unexpected(old.error());
  auto fresh = read(now);
  if (!fresh) return std::unexpected(fresh.error());
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> known;
  for (const json::value& value : old->entries()) {
    if (!value.is_object()) continue;
    const json::object& entry = value.get_object();
    known[key_of(entry)] = {number(entry, "bytes_in"), number(entry, "bytes_out")};
  }
  const auto elapsed = static_cast<double>(fresh->clock_ms - old->clock_ms) / 1000;
  for (json::value& value : fresh->entries()) {
    if (!value.is_object() || elapsed <= 0) continue;
    json::object& entry = value.get_object();
    const auto found = known.find(key_of(entry));
    if (found == known.end()) continue;
    const int64_t in = number(entry, "bytes_in") - found->second.first;
    const int64_t out = number(entry, "bytes_out") - found->second.second;
    if (in < 0 || out < 0) continue;  // it was counted anew
    entry["bytes_in_per_sec"] = static_cast<int64_t>(static_cast<double>(in) / elapsed);
    entry["bytes_out_per_sec"] = static_cast<int64_t>(static_cast<double>(out) / elapsed);
  }
  return json::serialize(fresh->answer);
}

TrafficCommand::TrafficCommand()
    : OperatorCommand({.name = "traffic",
                       .summary = "Show the connections and bytes of routes, tenants or agents",
                       .examples = "  culvert traffic\n"
                                   "  culvert traffic --by tenant --sort bytes\n"
                                   "  culvert traffic --watch\n",
                       .switches = {{.flag = "watch",
                                     .help = "show it again every 2 s, with bytes a second, until it is "
                                             "stopped"}}}) {
  SettingsBuilder builder = settings_.builder();
  builder.section("traffic");
  builder.add({.name = "by",
               .help = "whose: route, tenant or agent",
               .value_name = "WHOSE",
               .default_text = "route",
               .choices = {"route", "tenant", "agent"},
               .variable = "CULVERT_TRAFFIC_BY",
               .apply = [this](std::string_view text) -> Result<> {
                 const auto by = route::parse_traffic_by(text);
                 if (!by) return fail(ErrorCode::kInvalid, "expected route, tenant or agent");
                 by_ = *by;
                 return {};
               }});
  builder.add({.name = "sort",
               .help = "what comes first: the most open connections, the most bytes, or by name",
               .value_name = "ORDER",
               .default_text = "connections",
               .choices = {"connections", "bytes", "name"},
               .variable = "CULVERT_TRAFFIC_SORT",
               .apply = [this](std::string_view text) -> Result<> {
                 const auto order = route::parse_traffic_order(text);
                 if (!order) return fail(ErrorCode::kInvalid, "expected connections, bytes or name");
                 order_ = *order;
                 return {};
               }});
  builder.add({.name = "limit",
               .help = "how many are shown; 0: all, and 20 with --watch",
               .variable = "CULVERT_TRAFFIC_LIMIT"},
              limit_, 0, kMostOfPage);
  describe(builder, output_);
  access_.describe(builder);
}

Result<> TrafficCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  watches_ = arguments.has_switch("watch");
  return access_.find(settings_, environment);
}

std::string TrafficCommand::path() const {
  std::string path =
      fmt::format("/v1/traffic?by={}&sort={}", route::to_string(by_), route::to_string(order_));
  const uint64_t limit = watches_ && limit_ == 0 ? kMostWatched : limit_;
  return limit == 0 ? path : fmt::format("{}&limit={}", path, limit);
}

Result<> TrafficCommand::run() {
  if (watches_) return watch();
  const Fetch fetch = [this](std::string path) { return access_.call("GET", std::move(path), ""); };
  Result<std::string> text;
  if (limit_ == 0) {
    text = fetch_listing(listing(by_, false), path(), output_, fetch);
  } else if (auto answer = fetch(path())) {
    text = output_.format == OutputFormat::kTable
               ? format_members(listing(by_, false), kSource, *answer, output_)
               : format_object(*answer, {}, output_);
  } else {
    text = std::unexpected(answer.error());
  }
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

// Until it is stopped, or its reader has gone.
Result<> TrafficCommand::watch() {
  std::string before;
  while (standard_output().error() == 0) {
    auto answer = access_.call("GET", path(), "");
    if (!answer) return std::unexpected(answer.error());
    auto rated = add_rates(before.empty() ? *answer : before, *answer);
    if (!rated) return std::unexpected(rated.error());
    before = std::move(*answer);
    auto text = output_.format == OutputFormat::kTable
                    ? format_members(listing(by_, true), kSource, *rated, output_)
                    : format_object(*rated, {}, output_);
    if (!text) return std::unexpected(text.error());
    // On a terminal in the place of the last; elsewhere below it.
    const bool is_table = output_.format == OutputFormat::kTable;
    print("{}{}{}", is_table && output_.width ? "\x1b[H\x1b[2J" : "", *text,
          is_table && !output_.width ? "\n" : "");
    net::EventLoop loop;
    if (!run_until_signal(loop, net::sleep_for(loop, kWatchInterval))) break;
  }
  return {};
}

}  // namespace culvert::cli
