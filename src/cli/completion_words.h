#pragma once
#include <cstdint>
#include <memory>
#include <string>
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
  std::string first;   // "invite", or "node"
  std::string second;  // "list", or empty
  std::string summary;
  std::string positional;            // its name; empty: the command takes no word
  std::vector<std::string> choices;  // of the positional
  std::vector<FlagWord> flags;

  std::string name() const { return second.empty() ? first : first + " " + second; }
};

std::vector<CommandWords> words_of(const std::vector<std::unique_ptr<Command>>& commands);

}  // namespace culvert::cli
