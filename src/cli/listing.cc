#include "cli/listing.h"

#include <boost/json/serialize.hpp>

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "cli/text_table.h"
#include "cli/values.h"
#include "cli/yaml.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr const char* kSource = "the hub's answer";
constexpr int kStandardOutput = 1;
// A hub sends 100 entries a page and more; one that never ends would take all memory.
constexpr size_t kMaxPages = 10'000;

Result<OutputFormat> parse_format(std::string_view text) {
  if (text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  if (text == "yaml") return OutputFormat::kYaml;
  return fail(ErrorCode::kInvalid, "invalid format {} (expected table, json or yaml)", culvert::quoted(text));
}

std::string joined(const json::array& array) {
  std::string out;
  for (const json::value& entry : array) {
    if (!entry.is_string()) continue;
    out += out.empty() ? "" : ",";
    out += std::string_view(entry.get_string());
  }
  return out;
}

Colour colour_of(std::string_view status) {
  constexpr std::string_view kGood[] = {"accepted", "active", "followed", "healthy", "live",
                                        "ok",       "online", "ready",    "up"};
  constexpr std::string_view kBad[] = {"away", "degraded", "down",    "expired", "failed",    "failing",
                                       "lost", "offline",  "refused", "revoked", "suspended", "unhealthy"};
  if (std::ranges::find(kGood, status) != std::end(kGood)) return Colour::kGreen;
  if (std::ranges::find(kBad, status) != std::end(kBad)) return Colour::kRed;
  return Colour::kNone;
}

std::string shown_number(int64_t number, Show show) {
  if (show == Show::kSpan) return format_span(std::chrono::seconds(number));
  if (show == Show::kMicros) return format_latency(std::chrono::microseconds(number));
  return format_bytes(static_cast<uint64_t>(std::max<int64_t>(number, 0)));
}

// Empty where the member is absent, null or of another type: a hub may be of another version.
std::string shown(const json::value* value, Show show) {
  if (value == nullptr) return {};
  switch (show) {
    case Show::kTime:
      return value->is_int64() ? format_time(UnixTime(std::chrono::seconds(value->get_int64()))) : "";
    case Show::kList:
      return value->is_array() ? joined(value->get_array()) : "";
    case Show::kYesNo:
      return !value->is_bool() ? "" : value->get_bool() ? "yes" : "no";
    case Show::kBytes:
    case Show::kMicros:
    case Show::kSpan:
      return value->is_int64() ? shown_number(value->get_int64(), show) : "";
    case Show::kText:
    case Show::kStatus:
      break;
  }
  if (value->is_string()) return std::string(value->get_string());
  return value->is_number() ? json::serialize(*value) : "";
}

Cell cell_of(const json::object& object, const Column& column, const OutputOptions& options) {
  const std::string text = shown(object.if_contains(column.member), column.show);
  if (text.empty()) return column.when_absent;
  const bool is_coloured = options.has_colours && column.show == Show::kStatus;
  return {text, is_coloured ? colour_of(text) : Colour::kNone};
}

Result<json::object> parse_answer(std::string_view text) {
  auto answer = parse_json_object(kSource, text);
  if (!answer)
    return fail(ErrorCode::kInvalid, "{}. Is it a Culvert hub of this version?", answer.error().message);
  return answer;
}

Result<std::string> format_document(std::string_view text, OutputFormat format) {
  if (format == OutputFormat::kYaml) return json_to_yaml(kSource, text);
  return printable_json(text) + "\n";
}

// Appends the entries of one page. Where the next page begins; empty: there is none.
Result<std::string> take_page(const ListingInfo& info, std::string_view text, json::array& entries) {
  auto answer = parse_answer(text);
  if (!answer) return std::unexpected(answer.error());
  json::value* page = answer->if_contains(info.member);
  if (page == nullptr || !page->is_array()) {
    return fail(ErrorCode::kInvalid, "hub: its answer holds no {}. Is it a Culvert hub of this version?",
                info.member);
  }
  for (json::value& entry : page->get_array()) {
    if (entry.is_object()) entries.push_back(std::move(entry));
  }
  return shown(answer->if_contains("next"), Show::kText);
}

std::string format_entries(const ListingInfo& info, const json::array& entries,
                           const OutputOptions& options) {
  std::vector<Row> rows(1);
  for (const Column& column : info.columns) rows[0].emplace_back(column.heading);
  for (const json::value& entry : entries) {
    Row& row = rows.emplace_back();
    for (const Column& column : info.columns) row.push_back(cell_of(entry.get_object(), column, options));
  }
  return format_table(std::move(rows), options.width);
}

}  // namespace

void describe(SettingsBuilder& settings, OutputOptions& options) {
  settings.section("").add(
      {.name = "output",
       .help = "table, json or yaml",
       .details =
           "A table is for people: on a terminal that is narrower its widest column is cut, and colours "
           "are left out where NO_COLOR is set. JSON and YAML are one document with all members.",
       .value_name = "FORMAT",
       .default_text = "table",
       .letter = 'o',
       .choices = {"table", "json", "yaml"},
       .apply = store(options.format, parse_format)});
}

Switch json_switch() { return {.flag = "json", .help = "the same as --output json"}; }

Result<> complete(OutputOptions& options, const Arguments& arguments, const Environment& environment) {
  if (arguments.has_switch("json")) {
    if (arguments.values.contains("output"))
      return fail(ErrorCode::kInvalid, "--json and --output: both give a format; keep one of them");
    options.format = OutputFormat::kJson;
  }
  options.width = terminal_width(kStandardOutput);
  options.has_colours = options.width && !environment("NO_COLOR") && environment("TERM") != "dumb";
  return {};
}

Result<std::string> fetch_listing(const ListingInfo& info, const std::string& path,
                                  const OutputOptions& options, const Fetch& fetch) {
  json::array entries;
  std::string next_path = path;
  for (size_t page = 0; page < kMaxPages; ++page) {
    auto answer = fetch(next_path);
    if (!answer) return std::unexpected(answer.error());
    auto next = take_page(info, *answer, entries);
    if (!next) return std::unexpected(next.error());
    if (!next->empty()) {
      next_path = fmt::format("{}{}after={}", path, path.contains('?') ? '&' : '?', to_percent(*next));
      continue;
    }
    if (options.format == OutputFormat::kTable) return format_entries(info, entries, options);
    return format_document(json::serialize(json::object{{info.member, std::move(entries)}}), options.format);
  }
  return fail(ErrorCode::kLimit, "hub: its list of {} has more than {} pages", info.member, kMaxPages);
}

Result<std::string> format_members(const ListingInfo& info, std::string_view what, std::string_view text,
                                   const OutputOptions& options) {
  auto body = parse_json_object(what, text);
  if (!body) return std::unexpected(body.error());
  const json::value* members = body->if_contains(info.member);
  if (members == nullptr || !members->is_array())
    return fail(ErrorCode::kInvalid, "{} holds no {}", what, info.member);
  json::array entries;
  for (const json::value& entry : members->get_array()) {
    if (entry.is_object()) entries.push_back(entry);
  }
  return format_entries(info, entries, options);
}

Result<std::string> format_section(const ListingInfo& info, std::string_view what, std::string_view text,
                                   const OutputOptions& options) {
  auto body = parse_json_object(what, text);
  if (!body) return std::unexpected(body.error());
  const json::value* members = body->if_contains(info.member);
  if (members == nullptr || !members->is_array() || members->get_array().empty()) return std::string();
  auto table = format_members(info, what, text, options);
  if (!table) return table;
  const json::value* more = body->if_contains("more_" + info.member);
  const bool has_more = more != nullptr && more->is_int64() && more->get_int64() > 0;
  std::string out = "\n" + *table;
  if (has_more && info.shows_all.empty()) out += fmt::format("and {} more\n", more->get_int64());
  if (has_more && !info.shows_all.empty())
    out += fmt::format("and {} more: {}\n", more->get_int64(), info.shows_all);
  return out;
}

Result<std::string> format_done(std::string_view line, std::string_view text, const OutputOptions& options) {
  if (options.format == OutputFormat::kTable) return fmt::format("{}\n", line);
  return format_document(text, options.format);
}

Result<std::string> format_facts(std::string_view text, const std::vector<Column>& columns) {
  auto object = parse_answer(text);
  if (!object) return std::unexpected(object.error());
  std::vector<Row> rows;
  for (const Column& column : columns) rows.push_back({column.heading, cell_of(*object, column, {})});
  return format_table(std::move(rows));
}

Result<std::string> format_object(std::string_view text, const std::vector<Column>& columns,
                                  const OutputOptions& options) {
  if (options.format == OutputFormat::kTable) return format_facts(text, columns);
  return format_document(text, options.format);
}

}  // namespace culvert::cli
