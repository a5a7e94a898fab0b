#include "cli/reference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

namespace culvert::cli {
namespace {

constexpr std::string_view kEnd = "<!-- end -->\n";

std::string default_cell(const Setting& setting) {
  if (setting.default_text.empty()) return "none";
  return setting.default_is_words ? setting.default_text : fmt::format("`{}`", setting.default_text);
}

std::string settings_table(const Command& command) {
  std::string out =
      "| flag | in a file | variable | default | meaning |\n"
      "|---|---|---|---|---|\n";
  for (const Setting& setting : command.declared()) {
    std::string meaning = setting.help;
    if (!setting.details.empty()) meaning += ". " + setting.details;
    if (setting.may_change)
      meaning += std::string(setting.details.empty() ? "." : "") + " *May change while it runs.*";
    const std::string letter = setting.letter == 0 ? "" : fmt::format("`-{}`, ", setting.letter);
    fmt::format_to(std::back_inserter(out), "| {}`--{} {}` | `{}` | `{}` | {} | {} |\n", letter, setting.flag,
                   setting.value_name, dotted_name(setting), variable_name(setting), default_cell(setting),
                   meaning);
  }
  return out + "| `--config FILE` | | `CULVERT_CONFIG` | none | a TOML file with these settings |\n";
}

// One row for each family, with the values that its labels have.
std::string metrics_table(const Command& command) {
  Metrics metrics;
  command.describe_metrics(metrics);
  std::string out = "| name | type | labels | meaning |\n|---|---|---|---|\n";
  for (const Metrics::Description& row : metrics.describe()) {
    std::string labels;
    for (const auto& [label, values] : row.labels)
      labels += fmt::format("{}`{}`: {}", labels.empty() ? "" : "; ", label, fmt::join(values, ", "));
    fmt::format_to(std::back_inserter(out), "| `{}` | {} | {} | {} |\n", row.name, row.type, labels,
                   row.help);
  }
  return out;
}

std::string example_file(const Command& command) {
  // What belongs above the first section has to be there.
  std::vector<const Setting*> sorted;
  for (const bool above : {true, false}) {
    for (const Setting& setting : command.declared()) {
      if (setting.section.empty() == above) sorted.push_back(&setting);
    }
  }
  std::string out = "```toml\n";
  std::string section;
  for (const Setting* setting : sorted) {
    if (setting->section != section) {
      section = setting->section;
      fmt::format_to(std::back_inserter(out), "{}[{}]\n", out.ends_with("toml\n") ? "" : "\n", section);
    }
    fmt::format_to(std::back_inserter(out), "{}\n", example_line(*setting));
  }
  return out + "```\n";
}

std::string statuses_table() {
  std::string out = "| status | meaning |\n|---|---|\n";
  for (const ExitStatusInfo& each : exit_statuses()) {
    fmt::format_to(std::back_inserter(out), "| {} | {} |\n", static_cast<int>(each.status), each.meaning);
  }
  return out;
}

struct Part {
  std::string_view mark;
  std::string (*fill)(const Command& command);
};
constexpr std::string_view kStatuses = "<!-- exit statuses -->\n";
constexpr Part kParts[] = {{"<!-- settings of ", settings_table},
                           {"<!-- example of ", example_file},
                           {"<!-- metrics of ", metrics_table}};

}  // namespace

std::string example_line(const Setting& setting) {
  const char* quote = setting.form == SettingForm::kJson ? "'" : "\"";
  switch (setting.form) {
    case SettingForm::kYesNo:
      return fmt::format("{} = {}", setting.name, setting.example == "yes");
    case SettingForm::kNumber:
      return fmt::format("{} = {}", setting.name, setting.example);
    case SettingForm::kList:
      return fmt::format("{} = [\"{}\"]", setting.name, setting.example);
    case SettingForm::kText:
    case SettingForm::kJson:
      break;
  }
  return fmt::format("{} = {}{}{}", setting.name, quote, setting.example, quote);
}

std::string settings_reference(const std::vector<std::unique_ptr<Command>>& commands, std::string_view only) {
  std::string out;
  for (const auto& command : commands) {
    const CommandInfo& info = command->info();
    if (command->declared().empty() || info.is_hidden || (!only.empty() && info.name != only)) continue;
    if (!out.empty()) out += '\n';
    fmt::format_to(std::back_inserter(out), "## culvert {}\n\n{}.\n\n{}\nEvery setting in a file:\n\n{}",
                   info.name, info.summary, settings_table(*command), example_file(*command));
  }
  return out;
}

Result<std::string> fill_document(std::string_view document,
                                  const std::vector<std::unique_ptr<Command>>& commands) {
  std::string out;
  while (!document.empty()) {
    const size_t line_end = std::min(document.find('\n'), document.size() - 1) + 1;
    std::string_view line = document.substr(0, line_end);
    out += line;
    document.remove_prefix(line_end);
    const auto* part =
        std::ranges::find_if(kParts, [&](const Part& each) { return line.starts_with(each.mark); });
    const bool is_part = part != std::end(kParts);
    if (!is_part && line != kStatuses) continue;
    std::string_view name = "exit statuses";
    const Command* command = nullptr;
    if (is_part) {
      name = line.substr(part->mark.size(), line.find(" -->") - part->mark.size());
      command = find_command(commands, name);
      if (command == nullptr || command->settings() == nullptr)
        return fail(ErrorCode::kInvalid, "the document wants the settings of `{}`, which has none", name);
    }
    const size_t end = document.find(kEnd);
    if (end == std::string_view::npos)
      return fail(ErrorCode::kInvalid, "the part about `{}` has no end: a line {}", name, kEnd);
    document.remove_prefix(end);
    out += is_part ? part->fill(*command) : statuses_table();
  }
  return out;
}

}  // namespace culvert::cli
