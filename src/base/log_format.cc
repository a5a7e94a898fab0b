#include "base/log_format.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/text.h"

namespace culvert {
namespace {

std::string json_string(std::string_view text) {
  return printable_json(boost::json::serialize(boost::json::value(boost::json::string_view(text))));
}

bool is_name_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

// The name at the beginning of "name=value"; empty: there is none.
std::string_view leading_name(std::string_view text) {
  const auto end = std::ranges::find_if_not(text, is_name_character);
  if (end == text.end() || *end != '=') return {};
  return {text.begin(), end};
}

struct Field {
  std::string_view name;
  std::string_view pattern;
};

// Takes "a={} b=\"x {} y\"" apart. A blank ends a field where another name follows outside of quotes.
std::vector<Field> split_pattern(std::string_view pattern) {
  std::vector<Field> fields;
  while (!pattern.empty()) {
    const std::string_view name = leading_name(pattern);
    if (!name.empty()) pattern.remove_prefix(name.size() + 1);
    bool is_quoted = false;
    size_t end = 0;
    for (; end < pattern.size(); ++end) {
      if (pattern[end] == '"') is_quoted = !is_quoted;
      if (!is_quoted && pattern[end] == ' ' && !leading_name(pattern.substr(end + 1)).empty()) break;
    }
    fields.push_back({name.empty() ? "text" : name, pattern.substr(0, end)});
    pattern.remove_prefix(std::min(end + 1, pattern.size()));
  }
  return fields;
}

// Gives the placeholders of a part their numbers in the whole: "{:x}" becomes "{3:x}". `next` is the first
// one's.
std::string number_placeholders(std::string_view part, int& next) {
  std::string out;
  for (size_t i = 0; i < part.size(); ++i) {
    out += part[i];
    if (part[i] != '{' && part[i] != '}') continue;
    const bool is_doubled = i + 1 < part.size() && part[i + 1] == part[i];
    if (is_doubled) {
      out += part[++i];
    } else if (part[i] == '{') {
      out += std::to_string(next++);
    }
  }
  return out;
}

bool is_decimal(std::string_view placeholder) {
  return placeholder == "{}" || (placeholder.starts_with("{:.") && placeholder.ends_with("f}"));
}

bool is_json_number(const fmt::format_args::format_arg& value) {
  return fmt::visit_format_arg(
      [](auto held) {
        using Held = decltype(held);
        if constexpr (std::is_floating_point_v<Held>) return std::isfinite(held);
        return std::is_integral_v<Held> && !std::is_same_v<Held, char>;
      },
      value);
}

std::string encode_utf8(uint32_t code) {
  // quoted() names no character above U+FFFF in this way.
  std::string out;
  if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
  } else {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
  }
  out += static_cast<char>(0x80 | (code & 0x3f));
  return out;
}

std::optional<uint32_t> read_hex(std::string_view digits, size_t count) {
  if (digits.size() < count) return std::nullopt;
  uint32_t value = 0;
  for (char c : digits.substr(0, count)) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c < 'a' || c > 'f')) return std::nullopt;
    value = value * 16 + static_cast<uint32_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

// What quoted() was given; nothing when the text is not of that form. Every byte that it showed as \xHH comes
// back as that byte.
std::optional<std::string> unquote(std::string_view text) {
  if (text.size() < 2 || !text.starts_with('"') || !text.ends_with('"')) return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return std::nullopt;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (text.empty()) return std::nullopt;
    const char kind = text.front();
    text.remove_prefix(1);
    if (kind == '"' || kind == '\\') {
      out += kind;
      continue;
    }
    const size_t digits = kind == 'x' ? 2 : 4;
    const auto code = read_hex(text, digits);
    if ((kind != 'x' && kind != 'u') || !code) return std::nullopt;
    text.remove_prefix(digits);
    out += kind == 'x' ? std::string(1, static_cast<char>(*code)) : encode_utf8(*code);
  }
  return out;
}

}  // namespace

std::string text_of_event(std::string_view event, const LogFields& fields) {
  const std::string text = fmt::vformat(fmt::string_view(fields.pattern), fields.values);
  // Also fields that should have been quoted forge no line.
  return printable(fmt::format("event={}{}{}", event, text.empty() ? "" : " ", text));
}

std::string json_of_event(std::string_view event, const LogFields& fields) {
  std::string out = json_of_message(event);
  int next = 0;
  for (const Field& field : split_pattern(fields.pattern)) {
    const int first = next;
    const std::string value = fmt::vformat(number_placeholders(field.pattern, next), fields.values);
    const bool is_number = is_decimal(field.pattern) && is_json_number(fields.values.get(first));
    fmt::format_to(std::back_inserter(out), ",{}:{}", json_string(field.name),
                   is_number ? value : json_string(unquote(value).value_or(value)));
  }
  return out;
}

std::string json_of_message(std::string_view text) { return fmt::format("\"msg\":{}", json_string(text)); }

}  // namespace culvert
