#include "cli/command_line.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"
#include "base/values.h"
#include "cli/suggestion.h"

namespace culvert::cli {
namespace {

bool is_token(std::string_view word) { return word.contains("cvt_inv_") || word.contains("cvt_edge_"); }

bool is_operator_key(std::string_view word) {
  constexpr size_t kBytes = 32;
  const auto bytes = from_base64url(word);
  return bytes && bytes->size() == kBytes;
}

Error bad_usage(const CommandInfo& command, std::string_view what) {
  return {ErrorCode::kInvalid,
          fmt::format("{}{} See `culvert {} --help`", what, what.ends_with('?') ? "" : ".", command.name)};
}

// Takes the words of one command, one after the other.
class Reader {
 public:
  Reader(const CommandInfo& command, const std::vector<ValueFlag>& flags, std::span<const std::string> words)
      : command_(command), flags_(flags), words_(words) {}

  Result<Arguments> read() {
    while (!words_.empty()) {
      const std::string& word = next();
      if (word == "--" && !flags_ended_) {
        flags_ended_ = true;
        continue;
      }
      auto taken = is_flag(word) ? take_flag(word) : take_word(word);
      if (!taken) return std::unexpected(taken.error());
      if (out_.wants_help) return out_;
    }
    if (command_.positional && !command_.positional->is_optional && !has_positional_)
      return std::unexpected(bad_usage(command_, fmt::format("{}: is missing", command_.positional->name)));
    return std::move(out_);
  }

 private:
  const std::string& next() {
    const std::string& word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }

  bool is_flag(const std::string& word) const {
    if (flags_ended_ || !word.starts_with('-') || word == "-") return false;
    return !command_.positional || !command_.positional->accepts_dash ||
           !command_.positional->accepts_dash(word);
  }

  // Without its dashes, and the long one of a letter; empty: no flag is written so.
  std::string flag_name(std::string_view written) const {
    if (written.starts_with("--")) return std::string(written.substr(2));
    if (written.size() != 2) return {};
    auto found = std::ranges::find(flags_, written[1], &ValueFlag::letter);
    return found == flags_.end() ? std::string() : found->name;
  }

  Result<> take_word(const std::string& word) {
    if (!command_.positional || has_positional_) return stray(word);
    // Nothing is named so, and the name is sent to the hub, kept in logs and repeated in errors.
    if (is_token(word) || is_operator_key(word))
      return std::unexpected(bad_usage(
          command_,
          fmt::format("{}: is a token or a key, and not a name; give the name or the ID of what you mean",
                      command_.positional->name)));
    out_.positional = word;
    has_positional_ = true;
    return {};
  }

  Result<> take_flag(const std::string& word) {
    const size_t equals = word.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string flag = flag_name(word.substr(0, equals));
    const bool is_switch = flag == "help" || std::ranges::find(command_.switches, flag, &Switch::flag) !=
                                                 command_.switches.end();
    if (is_switch && has_value)
      return std::unexpected(bad_usage(command_, fmt::format("--{}: takes no value", flag)));
    if (flag == "help" || word == "-h") {
      out_.wants_help = true;
      return {};
    }
    if (is_switch) {
      out_.switches.push_back(flag);
      return {};
    }
    const auto declared = std::ranges::find(flags_, flag, &ValueFlag::name);
    if (declared == flags_.end()) return stray(word);
    if (has_value) {
      out_.values[flag].push_back(word.substr(equals + 1));
      return {};
    }
    if (declared->is_answer && !has_answer_next()) {
      out_.values[flag].emplace_back("yes");
      return {};
    }
    // What looks like the next flag is none's value; `--flag=--value` says that it is.
    if (words_.empty() || words_.front().starts_with("--"))
      return std::unexpected(bad_usage(command_, fmt::format("--{}: needs a value", flag)));
    out_.values[flag].push_back(next());
    return {};
  }

  // Where a word is still to come, one that is not an answer is taken for it.
  bool has_answer_next() const {
    if (words_.empty() || is_flag(words_.front()) || words_.front() == "--") return false;
    const bool wants_word = command_.positional && !has_positional_;
    return !wants_word || parse_yes_or_no(words_.front());
  }

  Result<> stray(const std::string& word) const {
    std::string what = describe_stray(word, "culvert " + command_.name, false);
    if (word.starts_with("--")) {
      std::vector<std::string> known;
      for (const ValueFlag& each : flags_) known.push_back("--" + each.name);
      for (const Switch& each : command_.switches) known.push_back("--" + each.flag);
      what += suggestion(word.substr(0, word.find('=')), known);
    }
    return std::unexpected(bad_usage(command_, what));
  }

  const CommandInfo& command_;
  const std::vector<ValueFlag>& flags_;
  std::span<const std::string> words_;
  Arguments out_;
  bool flags_ended_ = false;
  bool has_positional_ = false;
};

}  // namespace

std::vector<ValueFlag> flags_of(const std::vector<Setting>& settings) {
  std::vector<ValueFlag> flags;
  for (const Setting& setting : settings)
    flags.push_back({setting.flag, setting.letter, setting.form == SettingForm::kYesNo});
  return flags;
}

bool Arguments::has_switch(std::string_view flag) const {
  return std::ranges::find(switches, flag) != switches.end();
}

Result<Arguments> parse_arguments(const CommandInfo& command, const std::vector<ValueFlag>& flags,
                                  std::span<const std::string> words) {
  return Reader(command, flags, words).read();
}

// It may be a secret without its flag, and the value of a mistyped flag may be one too: neither is repeated,
// nor is any word as long as a key.
std::string describe_stray(std::string_view word, std::string_view command, bool wants_command) {
  constexpr size_t kKeySize = 40;
  word = word.substr(0, word.find('='));
  if (is_token(word)) return "a token is not expected there; give it with --token or CULVERT_TOKEN";
  if (word.size() >= kKeySize)
    return fmt::format("a word of {} characters is not expected there", word.size());
  if (word.starts_with('-')) return fmt::format("unknown flag {} for {}", quoted(word), command);
  if (wants_command) return fmt::format("unknown command {} for {}", quoted(word), command);
  return fmt::format("unexpected argument {}", quoted(word));
}

}  // namespace culvert::cli
