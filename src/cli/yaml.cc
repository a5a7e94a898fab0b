#include "cli/yaml.h"

#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>
#include <yaml-cpp/null.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;

// Whether every reader of YAML takes the text without quotes for a text: a word that begins with a letter, as
// no number does, and that YAML 1.1 and 1.2 do not use for true, false or null.
bool is_plain(std::string_view text) {
  constexpr std::string_view kReserved[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";
  constexpr std::string_view kOthers = "0123456789-_.";
  const std::string lower = to_lower(text);
  if (lower.empty() || !kLetters.contains(lower.front())) return false;
  auto fits = [&](char c) { return kLetters.contains(c) || kOthers.contains(c); };
  return std::ranges::all_of(lower, fits) && std::ranges::find(kReserved, lower) == std::end(kReserved);
}

void emit_text(YAML::Emitter& out, std::string_view text) {
  const std::string copy(text);
  if (is_plain(text)) {
    out << copy;
  } else if (is_printable(text)) {
    out << YAML::DoubleQuoted << copy;
  } else {
    out << YAML::DoubleQuoted << YAML::EscapeNonAscii << copy;
  }
}

void emit(YAML::Emitter& out, const json::value& value);

void emit_object(YAML::Emitter& out, const json::object& object) {
  if (object.empty()) out << YAML::Flow;
  out << YAML::BeginMap;
  for (const auto& member : object) {
    out << YAML::Key;
    emit_text(out, member.key());
    out << YAML::Value;
    emit(out, member.value());
  }
  out << YAML::EndMap;
}

void emit_array(YAML::Emitter& out, const json::array& array) {
  if (array.empty()) out << YAML::Flow;
  out << YAML::BeginSeq;
  for (const json::value& entry : array) emit(out, entry);
  out << YAML::EndSeq;
}

void emit(YAML::Emitter& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      out << YAML::Null;
      return;
    case json::kind::bool_:
      out << value.get_bool();
      return;
    case json::kind::int64:
      out << value.get_int64();
      return;
    case json::kind::uint64:
      out << value.get_uint64();
      return;
    case json::kind::double_:
      out << value.get_double();
      return;
    case json::kind::string:
      emit_text(out, value.get_string());
      return;
    case json::kind::array:
      emit_array(out, value.get_array());
      return;
    case json::kind::object:
      emit_object(out, value.get_object());
      return;
  }
}

}  // namespace

Result<std::string> json_to_yaml(std::string_view what, std::string_view text) {
  auto value = parse_json(what, text);
  if (!value) return std::unexpected(value.error());
  YAML::Emitter out;
  emit(out, *value);
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace culvert::cli
