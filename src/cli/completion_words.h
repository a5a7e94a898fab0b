#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

// What can be completed, for the scripts of all shells.
namespace culvert::cli {

struct FlagWord {
  enum class Value : uint8_t { kNone, kChoice, kDirectory, kFile };

  std::string name;  // without its dashes
  char letter = 0;
  std::string help;
  Value value = Value::kNone;
  std::string value_name = {};
  std::vector<std::string> choices = {};  // kChoice
  bool is_repeatable = false;
};

struct CommandWords {
  std::string name;  // "node", "invite list", "operator key list"
  std::string summary;
  std::string positional;            // its name; empty: the command takes no word
  std::vector<std::string> choices;  // of the positional
  std::vector<FlagWord> flags;
};

std::vector<CommandWords> words_of(const std::vector<std::unique_ptr<Command>>& commands);

// What several commands begin with: "invite", "operator", "operator key".
std::vector<std::string> prefixes_of(const std::vector<CommandWords>& commands);

struct NextWord {
  std::string word;
  std::string summary;  // of the command or the group whose name it completes
};
// The words that may follow a prefix; empty: those that come first.
std::vector<NextWord> next_words(const std::vector<CommandWords>& commands, std::string_view prefix);

}  // namespace culvert::cli
