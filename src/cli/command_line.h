#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/settings.h"

// The command line's grammar:
//   COMMAND [--flag VALUE | --flag=VALUE | -f VALUE | -f=VALUE | --answer | --switch | WORD]... [-- WORD...]
namespace culvert::cli {

// A word that stands without a flag; once.
struct Positional {
  std::string name;  // "TARGET"
  std::string help;
  // Whether this word is meant although it begins with a dash and no flag is called so.
  std::function<bool(std::string_view word)> accepts_dash = {};
  std::string example = {};
  std::vector<std::string> choices = {};  // all words, where they are few
  bool is_optional = false;
};

// A flag without a value.
struct Switch {
  std::string flag;
  std::string help;
};

// A flag with a value.
struct ValueFlag {
  std::string name;
  char letter = 0;         // 'o' for -o; 0: there is none
  bool is_answer = false;  // yes or no: without a value it is a yes
};
std::vector<ValueFlag> flags_of(const std::vector<Setting>& settings);

// What a command says of itself.
struct CommandInfo {
  std::string name;      // "invite create"
  std::string summary;   // one line
  std::string examples;  // lines of a terminal, each indented by two blanks
  std::optional<Positional> positional = std::nullopt;
  std::vector<Switch> switches = {};
  bool is_hidden = false;  // not for users of the program
};

// What was given to a command. Values as they were given: lists are taken apart by Settings.
struct Arguments {
  std::map<std::string, std::vector<std::string>, std::less<>> values;  // by flag, in their order
  std::vector<std::string> switches;
  std::string positional;
  bool wants_help = false;

  bool has_switch(std::string_view flag) const;
};

// Reads the words behind the command's name. kInvalid says which word is wrong; neither a value nor a word
// that may be a secret is repeated.
Result<Arguments> parse_arguments(const CommandInfo& command, const std::vector<ValueFlag>& flags,
                                  std::span<const std::string> words);

// For a word that no command knows.
std::string describe_stray(std::string_view word, std::string_view command, bool wants_command);

}  // namespace culvert::cli
