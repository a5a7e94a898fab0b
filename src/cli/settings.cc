#include "cli/settings.h"

#include <algorithm>
#include <cstdlib>

#include "base/ascii.h"
#include "base/environment.h"
#include "base/log.h"
#include "cli/suggestion.h"

namespace culvert::cli {
namespace {

Result<> apply_one(const Setting& setting, std::string_view value, const std::string& source) {
  auto applied = setting.apply(value);
  if (!applied) return fail(applied.error().code, "{}: {}", source, applied.error().message);
  return {};
}

const char* expected_form(SettingForm form) {
  switch (form) {
    case SettingForm::kText:
      return "text in quotes";
    case SettingForm::kNumber:
      return "a whole number without quotes";
    case SettingForm::kList:
      return "a list of texts, like [\"...\", \"...\"]";
    case SettingForm::kJson:
      return "tables, or their JSON in single quotes";
  }
  return "";
}

std::string describe_value(const ConfigEntry& entry) {
  using Type = ConfigValue::Type;
  if (entry.is_list) return "a list";
  switch (entry.values.front().type) {
    case Type::kText:
      return "text";
    case Type::kNumber:
      return "a number";
    case Type::kTable:
      return "a table";
    case Type::kOther:
      return entry.values.front().text;
  }
  return "";
}

bool has_form(const ConfigEntry& entry, SettingForm form) {
  using Type = ConfigValue::Type;
  auto all = [&entry](Type type) {
    return std::ranges::all_of(entry.values, [type](const ConfigValue& value) { return value.type == type; });
  };
  switch (form) {
    case SettingForm::kText:
      return !entry.is_list && all(Type::kText);
    case SettingForm::kNumber:
      return !entry.is_list && all(Type::kNumber);
    case SettingForm::kList:
      return entry.is_list && all(Type::kText);
    case SettingForm::kJson:
      return entry.is_list ? all(Type::kTable) : all(Type::kText);
  }
  return false;
}

Result<ConfigFile> read_file_given(const Arguments& arguments, const Environment& environment) {
  std::optional<std::string> path = environment("CULVERT_CONFIG");
  std::string source = "CULVERT_CONFIG";
  if (auto given = arguments.values.find("config"); given != arguments.values.end()) {
    source = "--config";
    if (given->second.size() > 1)
      return fail(ErrorCode::kInvalid, "--config: is given {} times; give it once", given->second.size());
    path = given->second.front();
    if (path->empty()) return fail(ErrorCode::kInvalid, "--config: is empty; give a file, or leave it out");
  }
  if (!path) return ConfigFile{};
  auto read = read_config(*path);
  if (!read && read.error().code != ErrorCode::kInvalid)
    return fail(ErrorCode::kInvalid, "{}: {}", source, read.error().message);
  return read;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

std::vector<std::string> culvert_variables() { return environment_names("CULVERT_"); }

std::string Settings::source(std::string_view flag) const {
  auto found = sources_.find(flag);
  return found == sources_.end() ? fmt::format("--{}", flag) : found->second;
}

// A variable's value, or one of a flag that is separated by commas: a list is taken apart.
Result<> Settings::apply_text(const Setting& setting, std::string_view text, const std::string& source) {
  sources_[setting.flag] = source;
  if (setting.form != SettingForm::kList) return apply_one(setting, text, source);
  while (true) {
    size_t end = text.find(setting.separator);
    std::string_view part = trim(text.substr(0, end));
    bool skip = part.empty() && setting.separator == ' ';  // blanks may come in rows, commas may not
    if (!skip) {
      auto applied = apply_one(setting, part, source);
      if (!applied) return applied;
    }
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
}

Result<> Settings::apply_flag(const Setting& setting, const std::vector<std::string>& values) {
  const std::string source = "--" + setting.flag;
  const bool is_list = setting.form == SettingForm::kList;
  if (values.size() > 1 && !is_list) {
    return fail(ErrorCode::kInvalid, "{}: is given {} times; give it once", source, values.size());
  }
  sources_[setting.flag] = source;
  for (const std::string& value : values) {
    if (value.empty())
      return fail(ErrorCode::kInvalid, "{}: is empty; give a value, or leave it out", source);
    auto applied = is_list && setting.separator == ',' ? apply_text(setting, value, source)
                                                       : apply_one(setting, value, source);
    if (!applied) return applied;
  }
  return {};
}

Result<> Settings::apply_entry(const Setting& setting, const ConfigFile& file, const ConfigEntry& entry) {
  if (!has_form(entry, setting.form)) {
    std::string what = describe_value(entry);
    if (setting.form == SettingForm::kList && entry.is_list) what = "a list of something else";
    return std::unexpected(
        file.complaint(entry, fmt::format("is {} (expected {})", what, expected_form(setting.form))));
  }
  const std::string place = file.place(entry);
  if (setting.form == SettingForm::kJson && entry.is_list) {
    std::string json;
    for (const ConfigValue& table : entry.values) json += (json.empty() ? "[" : ",") + table.text;
    return apply_one(setting, json.empty() ? "[]" : json + "]", place);
  }
  for (const ConfigValue& value : entry.values) {
    auto applied = apply_one(setting, value.text, place);
    if (!applied) return applied;
  }
  return {};
}

// Keys that are not ours, with what is probably meant.
Result<> Settings::check_keys(const ConfigFile& file) const {
  for (const ConfigEntry& given : file.entries) {
    auto is_given = [&given](const Setting& setting) {
      return setting.section == given.section && (setting.name == given.key || given.values.empty());
    };
    if (std::ranges::any_of(declared_, is_given)) continue;
    auto elsewhere = std::ranges::find_if(declared_, [&given](const Setting& setting) {
      return setting.name == given.key || setting.flag == given.key;
    });
    std::string hint;
    if (elsewhere != declared_.end() && elsewhere->section.empty()) {
      hint = fmt::format("; write {} above the first section", elsewhere->name);
    } else if (elsewhere != declared_.end()) {
      hint = fmt::format("; write {} = ... below a line [{}]", elsewhere->name, elsewhere->section);
    } else {
      std::vector<std::string> names;
      for (const Setting& setting : declared_) names.push_back(dotted_name(setting));
      hint = suggestion(given.shown_key(), names);
    }
    if (hint.empty()) hint = "; see its --help, and docs/configuration.md for the sections";
    return std::unexpected(
        file.complaint(given, fmt::format("is unknown to `culvert {}`{}", command_, hint)));
  }
  return {};
}

Result<> Settings::resolve(const Arguments& arguments, const Environment& environment) {
  auto file = read_file_given(arguments, environment);
  if (!file) return std::unexpected(file.error());
  auto known = check_keys(*file);
  if (!known) return known;

  for (const Setting& setting : declared_) {
    auto in_file = std::ranges::find_if(file->entries, [&setting](const ConfigEntry& entry) {
      return entry.section == setting.section && entry.key == setting.name;
    });
    const bool is_in_file = in_file != file->entries.end();
    if (is_in_file && setting.is_secret && file->others_may_read) {
      log_warn("secret_in_readable_file", "file={} key={} hint=\"chmod 600\"", culvert::quoted(file->name),
               dotted_name(setting));
    }
    const std::string variable = variable_name(setting);
    const auto value = environment(variable);
    const auto on_command_line = arguments.values.find(setting.flag);
    Result<> applied;
    if (on_command_line != arguments.values.end()) {
      applied = apply_flag(setting, on_command_line->second);
    } else if (value) {
      applied = apply_text(setting, *value, variable);
    } else if (is_in_file) {
      sources_[setting.flag] = file->place(*in_file);
      applied = apply_entry(setting, *file, *in_file);
    }
    if (!applied) return applied;
  }
  return {};
}

}  // namespace culvert::cli
