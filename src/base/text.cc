#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace culvert {
namespace {

struct Character {
  std::string_view bytes;
  char32_t code;
  bool is_valid;
};

// RFC 3629, section 4. What is not valid UTF-8 is taken byte by byte.
Character first_character(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text.front());
  if (lead < 0x80) return {text.substr(0, 1), lead, true};
  const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const Character invalid{text.substr(0, 1), lead, false};
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return invalid;
  char32_t code = lead & (0x7fu >> size);
  for (char c : text.substr(1, size - 1)) {
    const auto byte = static_cast<uint8_t>(c);
    if ((byte & 0xc0) != 0x80) return invalid;
    code = (code << 6) | (byte & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[size] || is_surrogate || code > 0x10ffff) return invalid;
  return {text.substr(0, size), code, true};
}

// All in the basic multilingual plane, so that \uXXXX names each.
bool is_deceptive(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) ||      // C0, DEL, C1
         code == 0x61c || code == 0x200e || code == 0x200f ||  // marks of direction
         code == 0x2028 || code == 0x2029 ||                   // line and paragraph separators
         (code >= 0x202a && code <= 0x202e) ||                 // embeddings and overrides
         (code >= 0x2066 && code <= 0x206f);                   // isolates, deprecated controls
}

struct Range {
  char32_t first;
  char32_t last;
};
// Marks that are drawn over the character before them, and variation selectors: the common scripts of
// Unicode's categories Mn and Me.
constexpr Range kCombining[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                {0x64b, 0x65f},   {0x93a, 0x93c},   {0x941, 0x948},   {0xe31, 0xe31},
                                {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},
                                {0x200b, 0x200d}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};
// East Asian wide and full-width forms, and pictures (Unicode Standard Annex 11).
constexpr Range kWide[] = {{0x1100, 0x115f},  {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97f},
                           {0xac00, 0xd7a3},  {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff01, 0xff60},
                           {0xffe0, 0xffe6},  {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
                           {0x20000, 0x3fffd}};

bool is_in(std::span<const Range> ranges, char32_t code) {
  return std::ranges::any_of(
      ranges, [code](const Range& range) { return code >= range.first && code <= range.last; });
}

void append_printable(std::string& out, const Character& character) {
  if (!character.is_valid || (character.code < 0x80 && is_deceptive(character.code))) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint32_t>(character.code));
  } else if (is_deceptive(character.code)) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint32_t>(character.code));
  } else {
    out += character.bytes;
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character character = first_character(text);
    append_printable(out, character);
    text.remove_prefix(character.bytes.size());
  }
  return out;
}

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (!character.is_valid || is_deceptive(character.code)) return false;
    text.remove_prefix(character.bytes.size());
  }
  return true;
}

std::string printable_json(std::string_view json) {
  std::string out;
  while (!json.empty()) {
    const Character character = first_character(json);
    // White space between values; inside strings JSON itself escapes these.
    const bool is_space = character.code == '\n' || character.code == '\t' || character.code == '\r';
    if (!character.is_valid) {
      out += "\\ufffd";
    } else if (is_deceptive(character.code) && !is_space) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint32_t>(character.code));
    } else {
      out += character.bytes;
    }
    json.remove_prefix(character.bytes.size());
  }
  return out;
}

std::string quoted(std::string_view text) {
  constexpr size_t kMaxLength = 200;
  std::string out = "\"";
  size_t taken = 0;
  while (taken < text.size()) {
    const Character character = first_character(text.substr(taken));
    if (taken + character.bytes.size() > kMaxLength) break;
    if (character.code == '"' || character.code == '\\') out += '\\';
    append_printable(out, character);
    taken += character.bytes.size();
  }
  if (taken < text.size()) out += "...";
  out += '"';
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const Character character = first_character(text);
    text.remove_prefix(character.bytes.size());
    if (character.is_valid && is_in(kCombining, character.code)) continue;
    width += character.is_valid && is_in(kWide, character.code) ? 2 : 1;
  }
  return width;
}

std::string cut_to_width(std::string_view text, size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  size_t kept = 0;
  size_t columns = 1;  // the ellipsis
  while (true) {
    const size_t size = first_character(text.substr(kept)).bytes.size();
    columns += display_width(text.substr(kept, size));
    if (columns > width) break;
    kept += size;
  }
  return std::string(text.substr(0, kept)) + "…";
}

}  // namespace culvert
