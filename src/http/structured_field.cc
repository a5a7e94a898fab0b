#include "http/structured_field.h"

#include <charconv>
#include <optional>

#include "base/check.h"
#include "base/encoding.h"

namespace culvert::http {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }
  bool at(char c) const { return rest_.starts_with(c); }
  bool accept(char c) {
    if (!at(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_spaces() {
    while (accept(' ')) continue;
  }
  void skip_ows() {
    while (accept(' ') || accept('\t')) continue;
  }

  template <class Predicate>
  std::string_view take_while(Predicate predicate) {
    size_t length = 0;
    while (length < rest_.size() && predicate(rest_[length])) ++length;
    std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }

  std::optional<std::string> key() {
    if (rest_.empty() || !(is_lower(rest_[0]) || rest_[0] == '*')) return std::nullopt;
    return std::string(take_while(
        [](char c) { return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*'; }));
  }

  std::optional<std::string> quoted_string() {
    if (!accept('"')) return std::nullopt;
    std::string text;
    while (!rest_.empty()) {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return text;
      if (c == '\\') {
        if (!at('"') && !at('\\')) return std::nullopt;
        c = rest_[0];
        rest_.remove_prefix(1);
      }
      if (!is_printable(c)) return std::nullopt;
      text.push_back(c);
    }
    return std::nullopt;
  }

  std::optional<Bytes> byte_sequence() {
    if (!accept(':')) return std::nullopt;
    std::string_view encoded = take_while([](char c) { return c != ':'; });
    if (!accept(':')) return std::nullopt;
    auto bytes = from_base64(encoded);
    if (!bytes) return std::nullopt;
    return std::move(*bytes);
  }

  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

// An integer of at most 15 digits (RFC 8941, 3.3.1); nullopt for decimals too, which nothing here uses.
std::optional<int64_t> parse_integer(std::string_view text) {
  size_t digits = text.size() - (text.starts_with('-') ? 1 : 0);
  if (digits == 0 || digits > 15) return std::nullopt;
  int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The bare item after "key=": strings and integers are understood, tokens, booleans and bytes kept for
// `canonical`.
bool parse_parameter_value(Cursor& cursor, Parameter& parameter, std::string& canonical) {
  if (cursor.at('"')) {
    auto text = cursor.quoted_string();
    if (!text) return false;
    parameter.type = Parameter::Type::kString;
    parameter.text = std::move(*text);
    canonical += serialize_string(parameter.text);
    return true;
  }
  if (cursor.at(':')) {
    auto bytes = cursor.byte_sequence();
    if (!bytes) return false;
    canonical += ":" + to_base64(*bytes) + ":";
    return true;
  }
  if (cursor.accept('?')) {
    bool value = cursor.at('1');
    if (!cursor.accept('1') && !cursor.accept('0')) return false;
    canonical += value ? "" : "=?0";  // "=" of a true is left out; see the caller
    return true;
  }
  std::string_view word = cursor.take_while([](char c) {
    return is_alpha(c) || is_digit(c) ||
           std::string_view("!#$%&'*+-.^_`|~:/").find(c) != std::string_view::npos;
  });
  if (word.empty()) return false;
  if (is_alpha(word[0]) || word[0] == '*') {
    canonical += word;
    return true;
  }
  auto integer = parse_integer(word);
  if (!integer) return false;
  parameter.type = Parameter::Type::kInteger;
  parameter.integer = *integer;
  canonical += fmt::format("{}", *integer);
  return true;
}

bool parse_parameters(Cursor& cursor, InnerListMember& member) {
  while (cursor.accept(';')) {
    cursor.skip_spaces();
    auto key = cursor.key();
    if (!key) return false;
    // RFC 8941 lets the last of two win; in a signature two answers to one question are refused.
    for (const Parameter& earlier : member.parameters) {
      if (earlier.key == *key) return false;
    }
    Parameter parameter{.key = *key, .type = Parameter::Type::kOther, .integer = 0, .text = {}};
    member.canonical += ";" + *key;
    if (cursor.accept('=')) {
      std::string value;
      bool is_boolean = cursor.at('?');
      if (!parse_parameter_value(cursor, parameter, value)) return false;
      member.canonical += is_boolean ? value : "=" + value;
    }
    member.parameters.push_back(std::move(parameter));
  }
  return true;
}

bool parse_inner_list(Cursor& cursor, InnerListMember& member) {
  if (!cursor.accept('(')) return false;
  member.canonical = "(";
  cursor.skip_spaces();
  while (!cursor.accept(')')) {
    auto item = cursor.quoted_string();
    // A parameter on a covered component (;sf, ;req, ...) changes what is signed: not understood, so refused.
    if (!item || (!cursor.at(' ') && !cursor.at(')'))) return false;
    if (!member.items.empty()) member.canonical += ' ';
    member.canonical += serialize_string(*item);
    member.items.push_back(std::move(*item));
    cursor.skip_spaces();
  }
  member.canonical += ')';
  return parse_parameters(cursor, member);
}

// Calls `value` at each member's value; false from it, or broken syntax around it, ends in an error.
template <class Member, class ParseValue>
Result<std::vector<Member>> parse_dictionary(std::string_view field, ParseValue parse_value) {
  auto bad = [](const char* what) { return fail(ErrorCode::kInvalid, "{}", what); };
  std::vector<Member> members;
  Cursor cursor(field);
  cursor.skip_spaces();
  if (cursor.empty()) return bad("it is empty");
  while (true) {
    auto key = cursor.key();
    if (!key || !cursor.accept('=')) return bad("it is not a dictionary of RFC 8941");
    for (const Member& earlier : members) {
      if (earlier.key == *key) return bad("a member is there twice");
    }
    Member member;
    member.key = std::move(*key);
    if (!parse_value(cursor, member)) return bad("a member has a malformed or unexpected value");
    members.push_back(std::move(member));
    cursor.skip_ows();
    if (cursor.empty()) return members;
    if (!cursor.accept(',')) return bad("members are not separated by commas");
    cursor.skip_ows();
    if (cursor.empty()) return bad("it ends in a comma");
  }
}

}  // namespace

Result<std::vector<ByteSequenceMember>> parse_byte_sequences(std::string_view field) {
  return parse_dictionary<ByteSequenceMember>(field, [](Cursor& cursor, ByteSequenceMember& member) {
    auto bytes = cursor.byte_sequence();
    if (!bytes) return false;
    member.value = std::move(*bytes);
    return true;
  });
}

Result<std::vector<InnerListMember>> parse_inner_lists(std::string_view field) {
  return parse_dictionary<InnerListMember>(field, parse_inner_list);
}

std::string serialize_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    CHECK(is_printable(c));
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
  return out;
}

}  // namespace culvert::http
