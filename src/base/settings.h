#pragma once
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "base/values.h"

// Settings as their owners declare them. A module that has some puts
//
//   void describe(SettingsBuilder& settings, Options& options);
//
// beside the struct that holds them; the struct's initial values are the defaults, stated nowhere else. From
// the list follow the flags, the environment variables, the keys of the file, --help and the tables of
// docs/configuration.md. Where values come from is decided by cli/.
namespace culvert {

// What a file has to hold. Flags and variables are always text.
enum class SettingForm : uint8_t {
  kText,    // "text"
  kNumber,  // 12
  kYesNo,   // true, or what parse_yes_or_no reads: "yes", 1
  kList,    // ["a", "b"], or a text with a separator, or with JSON, as in a variable
  kJson,    // an array of tables, or its JSON as text
};

struct Setting {
  std::string name;               // in the file and, after two dashes, on the command line: "max-streams"
  std::string help;               // a phrase for --help and for the reference: what the value is
  std::string details = {};       // whole sentences, for the reference only
  std::string value_name = {};    // "ADDR:PORT"
  std::string default_text = {};  // as a flag would give it, or words; empty: there is no default
  bool default_is_words = false;  // default_text is not a value
  std::string example = {};       // a value as a flag would give it
  std::string section = {};       // of the file; empty: above the first section
  std::string flag = {};          // where it is not called as in the file
  char letter = 0;                // of a short flag beside it, 'o' for -o; 0: there is none
  std::vector<std::string> choices = {};  // all values, where they are few words
  std::string variable = {};              // where it is not CULVERT_ and the flag in capitals
  SettingForm form = SettingForm::kText;
  // kList: what separates the values in a variable, unless they are a JSON list. A comma separates those of a
  // flag as well; a flag may be repeated in any case.
  char separator = ',';
  bool is_secret = false;         // errors do not repeat it; a file that holds it should be private
  std::string plain_prefix = {};  // of values that are no secret all the same
  bool may_change = false;        // while the program runs
  // Takes the value; its error says what is wrong and what was expected. Called once, for a list once for
  // each.
  std::function<Result<>(std::string_view value)> apply = {};
};

// "edge.max-connections", as TOML writes a key with its section.
std::string dotted_name(const Setting& setting);
// "CULVERT_MAX_CONNECTIONS"
std::string variable_name(const Setting& setting);

// Collects declarations. Typed forms fill in value_name, form and apply, and default_text and example from
// the target's value where the declaration has none. Targets outlive what is collected.
class SettingsBuilder {
 public:
  explicit SettingsBuilder(std::vector<Setting>& out) : out_(out) {}

  // What is added from here on stands in this section of the file.
  SettingsBuilder& section(std::string name);

  void add(Setting setting);
  void add(Setting setting, Duration& target, Duration least = Duration::zero());
  // An unsigned number or an optional one.
  template <class T>
  void add(Setting setting, T& target, uint64_t least, uint64_t most) {
    if constexpr (std::unsigned_integral<T>) set_default(setting, std::to_string(target));
    setting.form = SettingForm::kNumber;
    setting.apply = [&target, least, most](std::string_view text) -> Result<> {
      auto value = parse_number(text, least, most);
      if (!value) return std::unexpected(value.error());
      target = static_cast<typename NumberOf<T>::type>(*value);
      return {};
    };
    if (setting.value_name.empty()) setting.value_name = "N";
    add(std::move(setting));
  }
  // Yes or no. The form for an optional one has no default: the declaration has it in words.
  void add(Setting setting, bool& target);
  void add(Setting setting, std::optional<bool>& target);
  // An address to listen on. The declaration has the default in words.
  void add(Setting setting, std::optional<SocketAddr>& target);

 private:
  template <class T>
  struct NumberOf {
    using type = T;
  };
  template <class T>
  struct NumberOf<std::optional<T>> {
    using type = T;
  };
  static void set_default(Setting& setting, std::string text);
  void add_yes_or_no(Setting setting);

  std::vector<Setting>& out_;
  std::string section_;
};

// An apply function that stores what `parse` reads.
template <class T, class Parse>
std::function<Result<>(std::string_view)> store(T& target, Parse parse) {
  return [&target, parse](std::string_view text) -> Result<> {
    auto value = parse(text);
    if (!value) return std::unexpected(value.error());
    target = std::move(*value);
    return {};
  };
}

}  // namespace culvert
