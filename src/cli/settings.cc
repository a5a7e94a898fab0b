#include "cli/settings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <iterator>

#include "base/ascii.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/environment.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
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
    case SettingForm::kYesNo:
      return "true or false";
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
    case Type::kTrueFalse:
      return "true or false";
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
    case SettingForm::kYesNo:
      return !entry.is_list && (all(Type::kTrueFalse) || all(Type::kText) || all(Type::kNumber));
    case SettingForm::kList:
      return all(Type::kText);
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

// Whether a text is meant as a JSON list. An address like [::]:443 is not.
bool looks_like_json_list(std::string_view text) {
  text = trim(text);
  if (!text.starts_with('[')) return false;
  text = trim(text.substr(1));
  return text.starts_with('"') || text == "]";
}

Result<std::vector<std::string>> split_json_list(std::string_view text) {
  constexpr const char* kWhat = "the JSON list";
  auto list = parse_json(kWhat, text);
  if (!list) return std::unexpected(list.error());
  std::vector<std::string> out;
  for (const boost::json::value& value : list->as_array()) {
    if (!value.is_string())
      return fail(ErrorCode::kInvalid, "{} may hold texts only, like [\"...\", \"...\"]", kWhat);
    out.emplace_back(value.get_string());
  }
  return out;
}

// The values of a list that is given as one text: JSON, or separated.
Result<std::vector<std::string>> split_list(const Setting& setting, std::string_view text) {
  if (looks_like_json_list(text)) return split_json_list(text);
  std::vector<std::string> out;
  while (true) {
    size_t end = text.find(setting.separator);
    std::string_view part = trim(text.substr(0, end));
    bool skip = part.empty() && setting.separator == ' ';  // blanks may come in rows, commas may not
    if (!skip) out.emplace_back(part);
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

// The values of a list's flag, which may be repeated.
Result<std::vector<std::string>> join_lists(const Setting& setting, const std::vector<std::string>& given) {
  std::vector<std::string> out;
  for (const std::string& text : given) {
    // Where blanks separate, a flag's value may have some.
    if (setting.separator == ' ' && !looks_like_json_list(text)) {
      out.push_back(text);
      continue;
    }
    auto values = split_list(setting, text);
    if (!values) return values;
    std::ranges::move(*values, std::back_inserter(out));
  }
  return out;
}

bool is_secret(const Setting& setting, std::span<const std::string> values) {
  const auto is_plain = [&](const std::string& value) { return value.starts_with(setting.plain_prefix); };
  return setting.is_secret && (setting.plain_prefix.empty() || !std::ranges::all_of(values, is_plain));
}

// What may be shown of a value: no copy of a secret is made.
std::string shown_value(const Setting& setting, std::span<const std::string> values) {
  return is_secret(setting, values) ? "set" : fmt::format("{}", fmt::join(values, ","));
}

std::vector<std::string> texts_of(const ConfigEntry& entry) {
  std::vector<std::string> out;
  for (const ConfigValue& value : entry.values) out.push_back(value.text);
  return out;
}

// Of an entry that has the form.
Result<std::vector<std::string>> values_of(const Setting& setting, const ConfigEntry& entry) {
  if (setting.form == SettingForm::kList && !entry.is_list)
    return split_list(setting, entry.values.front().text);
  if (setting.form != SettingForm::kJson || !entry.is_list) return texts_of(entry);
  std::string json;
  for (const ConfigValue& table : entry.values) json += (json.empty() ? "[" : ",") + table.text;
  return std::vector<std::string>{json.empty() ? "[]" : json + "]"};
}

std::string fingerprint_of(std::span<const std::string> values) {
  std::string all;
  WipeAtEnd wipe_all(all);
  for (const std::string& value : values) all += fmt::format("{}:{},", value.size(), value);
  return to_hex(sha256(as_bytes(all)));
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

const Settings::Given* Settings::given(std::string_view flag) const {
  auto found = given_.find(flag);
  return found == given_.end() ? nullptr : &found->second;
}

std::string Settings::source(std::string_view flag) const {
  const Given* found = given(flag);
  return found == nullptr ? fmt::format("--{}", flag) : found->source;
}

void Settings::take(std::string_view flag, const Settings& from) {
  if (const Given* theirs = from.given(flag)) {
    given_.insert_or_assign(std::string(flag), *theirs);
  } else if (const auto ours = given_.find(flag); ours != given_.end()) {
    given_.erase(ours);
  }
}

void Settings::remember(const Setting& setting, std::string source, std::string place,
                        std::span<const std::string> values) {
  // An answer has several spellings.
  std::string answer;
  if (setting.form == SettingForm::kYesNo && values.size() == 1) {
    if (const auto parsed = parse_yes_or_no(values.front())) {
      answer = *parsed ? "yes" : "no";
      values = std::span(&answer, 1);
    }
  }
  given_[setting.flag] = {std::move(source), std::move(place), shown_value(setting, values),
                          fingerprint_of(values)};
}

Result<> Settings::apply_entry(const Setting& setting, const ConfigFile& file, const ConfigEntry& entry) {
  if (!has_form(entry, setting.form)) {
    std::string what = describe_value(entry);
    if (setting.form == SettingForm::kList && entry.is_list) what = "a list of something else";
    return std::unexpected(
        file.complaint(entry, fmt::format("is {} (expected {})", what, expected_form(setting.form))));
  }
  const std::string place = file.place(entry);
  auto values = values_of(setting, entry);
  if (!values) return fail(values.error().code, "{}: {}", place, values.error().message);
  for (const std::string& value : *values) {
    auto applied = apply_one(setting, value, place);
    if (!applied) return applied;
  }
  return {};
}

// What is probably meant by a key that is not ours.
std::string Settings::hint_for(const ConfigEntry& unknown) const {
  auto elsewhere = std::ranges::find_if(declared_, [&unknown](const Setting& setting) {
    return setting.name == unknown.key || setting.flag == unknown.key;
  });
  if (elsewhere != declared_.end() && elsewhere->section.empty())
    return fmt::format("; write {} above the first section", elsewhere->name);
  if (elsewhere != declared_.end())
    return fmt::format("; write {} = ... below a line [{}]", elsewhere->name, elsewhere->section);
  std::vector<std::string> names;
  for (const Setting& setting : declared_) names.push_back(dotted_name(setting));
  const std::string hint = suggestion(unknown.shown_key(), names);
  return hint.empty() ? "; see its --help, and docs/configuration.md for the sections" : hint;
}

void Settings::check_keys(const ConfigFile& file) {
  for (const ConfigEntry& entry : file.entries) {
    auto is_given = [&entry](const Setting& setting) {
      return setting.section == entry.section && (setting.name == entry.key || entry.values.empty());
    };
    if (std::ranges::any_of(declared_, is_given)) continue;
    problems_.push_back(
        file.complaint(entry, fmt::format("is unknown to `culvert {}`{}", command_, hint_for(entry))));
  }
}

Result<> Settings::apply(const Setting& setting, const Arguments& arguments, const Environment& environment,
                         const ConfigFile& file) {
  auto in_file = std::ranges::find_if(file.entries, [&setting](const ConfigEntry& entry) {
    return entry.section == setting.section && entry.key == setting.name;
  });
  const bool is_in_file = in_file != file.entries.end();
  if (is_in_file && file.others_may_read && is_secret(setting, texts_of(*in_file))) {
    log_warn("secret_in_readable_file", "file={} key={} hint=\"chmod 600\"", culvert::quoted(file.name),
             dotted_name(setting));
  }
  const auto on_command_line = arguments.values.find(setting.flag);
  if (on_command_line != arguments.values.end()) return apply_flag(setting, on_command_line->second);
  const std::string variable = variable_name(setting);
  if (const auto value = environment(variable)) {
    if (setting.form == SettingForm::kList) return apply_list(setting, variable, split_list(setting, *value));
    remember(setting, variable, variable, std::span(&*value, 1));
    return apply_one(setting, *value, variable);
  }
  if (!is_in_file) return {};
  const auto values = values_of(setting, *in_file);
  remember(setting, file.place(*in_file), fmt::format("{}:{}", file.name, in_file->line),
           values ? *values : texts_of(*in_file));
  return apply_entry(setting, file, *in_file);
}

Result<> Settings::apply_flag(const Setting& setting, const std::vector<std::string>& given) {
  const std::string flag = "--" + setting.flag;
  if (std::ranges::any_of(given, &std::string::empty))
    return fail(ErrorCode::kInvalid, "{}: is empty; give a value, or leave it out", flag);
  if (setting.form == SettingForm::kList) return apply_list(setting, flag, join_lists(setting, given));
  remember(setting, flag, flag, given);
  if (given.size() > 1)
    return fail(ErrorCode::kInvalid, "{}: is given {} times; give it once", flag, given.size());
  return apply_one(setting, given.front(), flag);
}

Result<> Settings::apply_list(const Setting& setting, const std::string& source,
                              const Result<std::vector<std::string>>& values) {
  if (!values) return fail(values.error().code, "{}: {}", source, values.error().message);
  remember(setting, source, source, *values);
  for (const std::string& value : *values) {
    auto applied = apply_one(setting, value, source);
    if (!applied) return applied;
  }
  return {};
}

Result<> Settings::resolve(const Arguments& arguments, const Environment& environment) {
  given_.clear();
  problems_.clear();
  auto file = read_file_given(arguments, environment);
  if (file) {
    check_keys(*file);
  } else {
    problems_.push_back(file.error());
    file = ConfigFile{};
  }
  for (const Setting& setting : declared_) {
    auto applied = apply(setting, arguments, environment, *file);
    if (!applied) problems_.push_back(applied.error());
  }
  if (!problems_.empty()) return std::unexpected(problems_.front());
  return {};
}

}  // namespace culvert::cli
