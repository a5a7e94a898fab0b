#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/settings.h"

// How commands print what they list or show: a table for people, one JSON or YAML document for programs.
namespace culvert::cli {

enum class OutputFormat : uint8_t { kTable, kJson, kYaml };

struct OutputOptions {
  OutputFormat format = OutputFormat::kTable;
  std::optional<size_t> width = {};  // of the terminal; not set: a file or a pipe, where nothing is cut
  bool has_colours = false;          // on a terminal that is not "dumb", and without NO_COLOR
};
// --output, above the first section of the file.
void describe(SettingsBuilder& settings, OutputOptions& options);
// After settings were resolved: takes --json, and looks at the terminal of standard output.
Result<> complete(OutputOptions& options, const Arguments& arguments, const Environment& environment);
// For commands that had --json before they had --output.
Switch json_switch();

// How a member of a JSON object is shown to people.
enum class Show : uint8_t {
  kText,    // a string or a number
  kTime,    // an integer, seconds since 1970
  kList,    // an array of strings
  kYesNo,   // a boolean
  kStatus,  // a string, coloured where it says that something works or does not
  kBytes,   // an integer
  kMicros,  // an integer, microseconds
  kSpan,    // an integer, seconds
};
struct Column {
  std::string heading;
  std::string member;
  Show show = Show::kText;
  std::string when_absent = "-";
};

// What a command lists: the member of the hub's answers that has the array, and what is shown of each entry.
struct ListingInfo {
  std::string member;  // "invites"
  std::vector<Column> columns;
  // format_section(): the command that shows all of the list; "more_invites" says how many are missing.
  std::string shows_all = {};
};

// One call of the hub: its answer to GET `path`.
using Fetch = std::function<Result<std::string>(std::string path)>;
// All pages of a list, ready to be printed. JSON and YAML have every member of the entries, as the hub sent
// it.
Result<std::string> fetch_listing(const ListingInfo& info, const std::string& path,
                                  const OutputOptions& options, const Fetch& fetch);

// The array of `info` in one JSON object, as a table. kInvalid: `what` has no such array.
Result<std::string> format_members(const ListingInfo& info, std::string_view what, std::string_view json,
                                   const OutputOptions& options);

// What became of a change, one JSON object, in the format that was asked for; a table is `line`.
Result<std::string> format_done(std::string_view line, std::string_view json, const OutputOptions& options);

// The same under a blank line and, where `info` says `more`, with what the list lacks; empty: the array is
// empty or missing.
Result<std::string> format_section(const ListingInfo& info, std::string_view what, std::string_view json,
                                   const OutputOptions& options);

// One JSON object as lines "heading  value".
Result<std::string> format_facts(std::string_view json, const std::vector<Column>& columns);
// One JSON object in the format that was asked for; a table is that of format_facts.
Result<std::string> format_object(std::string_view json, const std::vector<Column>& columns,
                                  const OutputOptions& options);

}  // namespace culvert::cli
