#include "cli/completion_words.h"

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
    const size_t blank = info.name.find(' ');
    CommandWords words{.first = info.name.substr(0, blank),
                       .second = blank == info.name.npos ? "" : info.name.substr(blank + 1),
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

}  // namespace culvert::cli
