#pragma once
#include <string>
#include <string_view>

// Text of others, made safe to show on a terminal or in a log.
namespace culvert {

// Escapes what changes how the text around it is read: C0 and C1 control characters and DEL, line and
// paragraph separators, bidirectional controls, and every byte that is not valid UTF-8 (overlong forms and
// surrogates are not). Single bytes are shown as \x1b, other characters as \u202e. Idempotent.
std::string printable(std::string_view text);
// True when printable() changes nothing.
bool is_printable(std::string_view text);
// The same for a JSON text: every escape is one of JSON, so its meaning stays. Line feeds stay too, as they
// are white space there.
std::string printable_json(std::string_view json);
// The text in double quotes, quotes and backslashes escaped as well, cut at 200 bytes.
std::string quoted(std::string_view text);
// Without these, argument-dependent lookup prefers std::quoted for a std::string wherever <iomanip> is
// included.
inline std::string quoted(const std::string& text) { return quoted(std::string_view(text)); }
inline std::string quoted(std::string& text) { return quoted(std::string_view(text)); }
inline std::string quoted(const char* text) { return quoted(std::string_view(text)); }

// How many characters have to be put in, taken out or replaced to make `b` of `a` (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b);
// Columns that the text takes on a terminal: none for combining characters, two for wide ones. Bytes that are
// not UTF-8 take one each.
size_t display_width(std::string_view text);
// The text, or as much of its beginning as fits into so many columns together with an ellipsis.
std::string cut_to_width(std::string_view text, size_t width);

}  // namespace culvert
