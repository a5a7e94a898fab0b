#include "cli/config_file.h"

namespace culvert::cli {
struct BrokenParser {};  // an assertion of the library does not hold
}  // namespace culvert::cli

// Some malformed files break assertions of the library (3.3.0: "[[#a]]", "1979-05-27T_7:32:00Z"), which would
// end the process, or with NDEBUG be taken for facts by the compiler. Here each is checked, and is an error
// of the file.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : throw ::culvert::cli::BrokenParser{})
#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "base/ascii.h"
#include "base/file.h"
#include "base/text.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxSize = 1024 * 1024;

// What may be repeated in a message: the name of a setting or section, and nothing that could be a secret.
bool is_name(std::string_view text) {
  constexpr size_t kLongest = 40;
  return !text.empty() && text.size() <= kLongest && std::ranges::all_of(text, [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-';
  });
}

std::string_view line_of(std::string_view text, size_t number) {
  for (size_t line = 1; line < number; ++line) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return trim(text.substr(0, text.find('\n')));
}

// What is wrong with a line that is not TOML. Files of `key = value` lines without quotes were the format of
// earlier versions, and are what people write by habit. The line may hold a secret: only its key is repeated.
std::string explain(std::string_view line, std::string_view description) {
  const bool is_section = line.starts_with('[');
  const size_t equals = line.find('=');
  if (!is_section && equals == std::string_view::npos) {
    return "line: there is no '='; write key = value, or a section like [edge]";
  }
  if (is_section) return fmt::format("section: {}", description);
  const std::string_view key = trim(line.substr(0, equals));
  const std::string_view value = trim(line.substr(equals + 1));
  const std::string shown = is_name(key) ? std::string(key) : "line";
  if (value.empty()) return fmt::format("{}: there is no value after '='", shown);
  if (value.starts_with("[{\"")) {
    return fmt::format("{}: JSON goes into single quotes; write {} = '[...]'", shown,
                       is_name(key) ? key : "key");
  }
  constexpr std::string_view kStructured = "\"'[{";
  if (is_name(key) && !kStructured.contains(value.front()))
    return fmt::format("{0}: a text value goes into quotes; write {0} = \"...\"", shown);
  return fmt::format("{}: {}", shown, description);
}

ConfigValue value_of(const toml::node& node) {
  const toml::source_position at = node.source().begin;
  ConfigValue out{ConfigValue::Type::kOther, {}, at.line, at.column};
  if (const auto* text = node.as_string()) {
    out.type = ConfigValue::Type::kText;
    out.text = text->get();
  } else if (const auto* number = node.as_integer()) {
    out.type = ConfigValue::Type::kNumber;
    out.text = std::to_string(number->get());
  } else if (const auto* answer = node.as_boolean()) {
    out.type = ConfigValue::Type::kTrueFalse;
    out.text = answer->get() ? "true" : "false";
  } else if (const auto* table = node.as_table()) {
    std::ostringstream json;
    json << toml::json_formatter(*table);
    out.type = ConfigValue::Type::kTable;
    out.text = std::move(json).str();
  } else {
    out.text = node.is_floating_point() ? "a number with a fraction"
               : node.is_array()        ? "a list"
                                        : "a date or time";
  }
  return out;
}

ConfigEntry entry_of(std::string_view section, const toml::key& key, const toml::node& node) {
  ConfigEntry entry{std::string(section), std::string(key.str()), false, {}, 0, 0};
  // Tables and arrays of tables have no key of their own where a dotted name made them.
  const toml::source_position at = key.source().begin.line > 0 ? key.source().begin : node.source().begin;
  entry.line = at.line;
  entry.column = at.column;
  if (const toml::array* list = node.as_array()) {
    entry.is_list = true;
    for (const toml::node& value : *list) entry.values.push_back(value_of(value));
  } else {
    entry.values.push_back(value_of(node));
  }
  return entry;
}

}  // namespace

std::string ConfigEntry::shown_key() const {
  if (key.empty()) return is_name(section) ? section : "a section";
  std::string shown = is_name(key) ? key : "a key";
  if (section.empty()) return shown;
  return is_name(section) ? fmt::format("{}.{}", section, shown) : "a section";
}

std::string ConfigFile::place(const ConfigEntry& entry) const {
  return fmt::format("{}:{}:{}: {}", name, entry.line, entry.column, entry.shown_key());
}

Error ConfigFile::complaint(const ConfigEntry& entry, std::string_view reason) const {
  return {ErrorCode::kInvalid, fmt::format("{}: {}", place(entry), reason)};
}

namespace {

// The first byte of a character that is not ASCII and stands outside of strings and comments, where TOML has
// none. The library (3.3.0) does not survive some of them: its table of white space has a hole.
std::optional<size_t> stray_character(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  for (size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      const std::string_view rest = text.substr(at);
      const bool is_multi_line = rest.starts_with(std::string(3, c));
      const std::string_view quotes = rest.substr(0, is_multi_line ? 3 : 1);
      for (at += quotes.size(); at < text.size() && !text.substr(at).starts_with(quotes); ++at) {
        if (c == '"' && text[at] == '\\') {
          ++at;
        } else if (text[at] == '\n' && !is_multi_line) {
          break;
        }
      }
      at += quotes.size() - 1;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return at;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<ConfigFile> parse_config(std::string_view text, std::string name) {
  ConfigFile file{.name = std::move(name), .entries = {}};
  if (const auto stray = stray_character(text)) {
    const std::string_view before = text.substr(0, *stray);
    const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
    return fail(ErrorCode::kInvalid, "{}:{}:{}: a character that is not ASCII stands outside of quotes",
                file.name, std::ranges::count(before, '\n') + 1, *stray - line_begin + 1);
  }
  toml::table parsed;
  try {
    parsed = toml::parse(text);
  } catch (const toml::parse_error& error) {
    const toml::source_position at = error.source().begin;
    return fail(ErrorCode::kInvalid, "{}:{}:{}: {}", file.name, at.line, at.column,
                explain(line_of(text, at.line), printable(error.description())));
  } catch (const BrokenParser&) {
    return fail(ErrorCode::kInvalid,
                "{}: is not TOML; look for a name or a date with a character that does not belong there",
                file.name);
  }
  for (const auto& [key, node] : parsed) {
    const toml::table* section = node.as_table();
    if (section == nullptr) {
      file.entries.push_back(entry_of({}, key, node));
      continue;
    }
    for (const auto& [inner, value] : *section) file.entries.push_back(entry_of(key.str(), inner, value));
    // An empty section is a section all the same: it may be a misspelt one.
    if (section->empty()) {
      ConfigEntry entry = entry_of(key.str(), key, node);
      entry.key.clear();
      entry.values.clear();
      file.entries.push_back(std::move(entry));
    }
  }
  std::ranges::sort(file.entries, [](const ConfigEntry& a, const ConfigEntry& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  return file;
}

Result<ConfigFile> read_config(const std::filesystem::path& path) {
  auto content = read_file(path, kMaxSize);
  if (!content) return std::unexpected(content.error());
  auto file = parse_config(as_text(*content), path.string());
  if (file) file->others_may_read = others_may_read(path);
  return file;
}

bool others_may_read(const std::filesystem::path& path) {
  using std::filesystem::perms;
  std::error_code error;
  perms mode = std::filesystem::status(path, error).permissions();
  return !error && (mode & (perms::group_read | perms::others_read)) != perms::none;
}

}  // namespace culvert::cli
