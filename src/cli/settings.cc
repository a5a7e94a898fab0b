#include "cli/settings.h"

#include <CLI/App.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/check.h"
#include "base/environment.h"
#include "base/log.h"
#include "cli/config_file.h"

namespace culvert::cli {
namespace {

// Raw strings, one for each time the flag is given: CLI11 must not take lists apart, ours do.
CLI::Option* add_flag(CLI::App& app, const std::string& key, const std::string& value_name,
                      std::string help) {
  const std::string& description = help;
  return app.add_option("--" + key, CLI::callback_t(), description, false)
      ->type_name(value_name)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

// "culvert invite create"
std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : full_name(*parent) + " " + app.get_name();
}

std::string_view trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
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

std::string Settings::variable_name(const Setting& setting) {
  if (!setting.variable.empty()) return setting.variable;
  std::string out = "CULVERT_";
  for (char c : setting.key)
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

Settings::Settings(CLI::App& app, bool with_file) : app_(app) {
  if (!with_file) return;
  config_option_ =
      add_flag(app_, "config", "FILE", "file of `key = value` lines; keys are these flags [CULVERT_CONFIG]");
}

void Settings::add(Setting setting) {
  std::string help = setting.help;
  if (!setting.default_text.empty()) help += fmt::format(" (default {})", setting.default_text);
  help += fmt::format(" [{}]", variable_name(setting));
  CLI::Option* option = add_flag(app_, setting.key, setting.value_name, std::move(help));
  entries_.push_back({std::move(setting), option});
}

std::string Settings::source(std::string_view key) const {
  auto found = sources_.find(key);
  return found == sources_.end() ? fmt::format("--{}", key) : found->second;
}

Result<> Settings::apply_one(const Setting& setting, std::string_view value, const std::string& source) {
  auto applied = setting.apply(value);
  if (!applied) return fail(applied.error().code, "{}: {}", source, applied.error().message);
  return {};
}

// A variable's or a file's value: a list is taken apart.
Result<> Settings::apply_text(const Setting& setting, std::string_view text, const std::string& source) {
  sources_[setting.key] = source;
  if (!setting.separator) return apply_one(setting, text, source);
  while (true) {
    size_t end = text.find(*setting.separator);
    std::string_view part = trimmed(text.substr(0, end));
    bool skip = part.empty() && *setting.separator == ' ';  // blanks may come in rows, commas may not
    if (!skip) {
      auto applied = apply_one(setting, part, source);
      if (!applied) return applied;
    }
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
}

Result<> Settings::apply_flag(const Entry& entry) {
  std::string source = "--" + entry.setting.key;
  const auto& values = entry.option->results();
  if (values.size() > 1 && !entry.setting.separator) {
    return fail(ErrorCode::kInvalid, "{}: is given {} times; give it once", source, values.size());
  }
  sources_[entry.setting.key] = source;
  for (const std::string& value : values) {
    if (value.empty())
      return fail(ErrorCode::kInvalid, "{}: is empty; give a value, or leave it out", source);
    bool is_comma_list = entry.setting.separator == ',';
    auto applied =
        is_comma_list ? apply_text(entry.setting, value, source) : apply_one(entry.setting, value, source);
    if (!applied) return applied;
  }
  return {};
}

Result<> Settings::resolve(const Environment& environment) {
  ConfigFile file;
  std::optional<std::string> path;
  std::string path_source = "--config";
  if (config_option_ != nullptr) {
    if (config_option_->count() > 0) {
      if (config_option_->count() > 1)
        return fail(ErrorCode::kInvalid, "--config: is given {} times; give it once",
                    config_option_->count());
      path = config_option_->results().back();
      if (path->empty()) return fail(ErrorCode::kInvalid, "--config: is empty; give a file, or leave it out");
    } else {
      path = environment("CULVERT_CONFIG");
      path_source = "CULVERT_CONFIG";
    }
  }
  if (path) {
    auto read = read_config(*path);
    if (!read && read.error().code == ErrorCode::kInvalid) return std::unexpected(read.error());
    if (!read) return fail(ErrorCode::kInvalid, "{}: {}", path_source, read.error().message);
    file = std::move(*read);
  }
  for (const ConfigEntry& given : file.entries) {
    auto known = std::ranges::find(entries_, given.key, [](const Entry& entry) { return entry.setting.key; });
    if (known == entries_.end()) {
      return std::unexpected(file.complaint(
          given, fmt::format("is unknown to `{}`; see its --help for the keys", full_name(app_))));
    }
  }

  for (const Entry& entry : entries_) {
    const Setting& setting = entry.setting;
    auto in_file = std::ranges::find(file.entries, setting.key, &ConfigEntry::key);
    if (in_file != file.entries.end() && setting.is_secret && file.others_may_read) {
      log_warn("secret_in_readable_file", "file={} key={} hint=\"chmod 600\"", culvert::quoted(file.name),
               setting.key);
    }
    if (entry.option->count() > 0) {
      auto applied = apply_flag(entry);
      if (!applied) return applied;
      continue;
    }
    std::string variable = variable_name(setting);
    auto value = environment(variable);
    if (value) {
      auto applied = apply_text(setting, *value, variable);
      if (!applied) return applied;
      continue;
    }
    if (in_file == file.entries.end()) continue;
    auto applied =
        apply_text(setting, in_file->value, fmt::format("{}:{}: {}", file.name, in_file->line, setting.key));
    if (!applied) return applied;
  }
  return {};
}

}  // namespace culvert::cli
