#include "cli/completion_words.h"

#include <algorithm>

#include "cli/help.h"

namespace culvert::cli {
namespace {

FlagWord flag_of(const Setting& setting) {
  using Value = FlagWord::Value;
  const bool is_directory = setting.value_name == "DIR";
  return {.name = setting.flag,
          .letter = setting.letter,
          .help = setting.help,
          .value = !setting.choices.empty() ? Value::kChoice
                   : is_directory           ? Value::kDirectory
                                            : Value::kFile,
          .value_name = setting.value_name,
          .choices = setting.choices,
          .is_repeatable = setting.form == SettingForm::kList};
}

std::vector<FlagWord> flags_of(const Command& command) {
  std::vector<FlagWord> out;
  for (const Setting& setting : command.declared()) out.push_back(flag_of(setting));
  if (command.settings() != nullptr) {
    out.push_back({.name = "config",
                   .help = "a TOML file with these settings",
                   .value = FlagWord::Value::kFile,
                   .value_name = "FILE"});
  }
  for (const Switch& each : command.info().switches) out.push_back({.name = each.flag, .help = each.help});
  out.push_back({.name = "help", .help = "print this help"});
  return out;
}

}  // namespace

std::vector<CommandWords> words_of(const std::vector<std::unique_ptr<Command>>& commands) {
  std::vector<CommandWords> out;
  for (const auto& command : commands) {
    const CommandInfo& info = command->info();
    if (info.is_hidden) continue;
    CommandWords words{.name = info.name,
                       .summary = info.summary,
                       .positional = {},
                       .choices = {},
                       .flags = flags_of(*command)};
    if (info.positional) {
      words.positional = info.positional->name;
      words.choices = info.positional->choices;
    }
    out.push_back(std::move(words));
  }
  return out;
}

std::vector<std::string> prefixes_of(const std::vector<CommandWords>& commands) {
  std::vector<std::string> out;
  for (const CommandWords& command : commands) {
    for (size_t end = command.name.find(' '); end != command.name.npos;
         end = command.name.find(' ', end + 1)) {
      const std::string prefix = command.name.substr(0, end);
      if (std::ranges::find(out, prefix) == out.end()) out.push_back(prefix);
    }
  }
  return out;
}

std::vector<NextWord> next_words(const std::vector<CommandWords>& commands, std::string_view prefix) {
  const std::string begin = prefix.empty() ? "" : fmt::format("{} ", prefix);
  std::vector<NextWord> out;
  for (const CommandWords& command : commands) {
    if (!command.name.starts_with(begin)) continue;
    const std::string word =
        command.name.substr(begin.size(), command.name.find(' ', begin.size()) - begin.size());
    if (std::ranges::find(out, word, &NextWord::word) != out.end()) continue;
    const CommandGroup* group = find_group(begin + word);
    out.push_back({word, group != nullptr ? std::string(group->summary) : command.summary});
  }
  return out;
}

}  // namespace culvert::cli
