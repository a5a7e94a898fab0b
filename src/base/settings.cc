#include "base/settings.h"

#include "base/check.h"
#include "base/text.h"

namespace culvert {

std::string dotted_name(const Setting& setting) {
  return setting.section.empty() ? setting.name : setting.section + "." + setting.name;
}

std::string variable_name(const Setting& setting) {
  if (!setting.variable.empty()) return setting.variable;
  std::string out = "CULVERT_";
  for (char c : setting.flag)
    out += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

SettingsBuilder& SettingsBuilder::section(std::string name) {
  section_ = std::move(name);
  return *this;
}

void SettingsBuilder::add(Setting setting) {
  CHECK(setting.apply);
  if (setting.flag.empty()) setting.flag = setting.name;
  setting.section = section_;
  if (setting.example.empty() && !setting.default_is_words) setting.example = setting.default_text;
  out_.push_back(std::move(setting));
}

void SettingsBuilder::add(Setting setting, Duration& target, Duration least) {
  set_default(setting, format_duration(target));
  setting.value_name = "TIME";
  setting.apply = [&target, least](std::string_view text) -> Result<> {
    auto value = parse_duration(text);
    if (!value) return std::unexpected(value.error());
    if (*value < least) {
      return fail(ErrorCode::kInvalid, "duration {} is too short (expected at least {})", quoted(text),
                  format_duration(least));
    }
    target = *value;
    return {};
  };
  add(std::move(setting));
}

void SettingsBuilder::add(Setting setting, bool& target) {
  set_default(setting, target ? "yes" : "no");
  setting.apply = store(target, parse_yes_or_no);
  add_yes_or_no(std::move(setting));
}

void SettingsBuilder::add(Setting setting, std::optional<bool>& target) {
  setting.apply = store(target, parse_yes_or_no);
  add_yes_or_no(std::move(setting));
}

void SettingsBuilder::add_yes_or_no(Setting setting) {
  setting.form = SettingForm::kYesNo;
  setting.value_name = "ANSWER";
  setting.choices = {"yes", "no"};
  add(std::move(setting));
}

void SettingsBuilder::add(Setting setting, std::optional<SocketAddr>& target) {
  setting.value_name = "ADDR:PORT";
  setting.apply = store(target, parse_listen_addr);
  add(std::move(setting));
}

void SettingsBuilder::set_default(Setting& setting, std::string text) {
  if (setting.default_text.empty()) setting.default_text = std::move(text);
}

}  // namespace culvert
