#include "cli/config_file.h"

#include <algorithm>
#include <cctype>

#include "base/file.h"
#include "base/log.h"

namespace culvert::cli {
namespace {

constexpr size_t kMaxSize = 1024 * 1024;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool is_key(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-';
  });
}

}  // namespace

Error ConfigFile::complaint(const ConfigEntry& entry, std::string_view reason) const {
  return {ErrorCode::kInvalid, fmt::format("{}:{}: {}: {}", name, entry.line, entry.key, reason)};
}

Result<ConfigFile> parse_config(std::string_view text, std::string name) {
  ConfigFile file{.name = std::move(name), .entries = {}};
  int number = 0;
  while (!text.empty()) {
    ++number;
    size_t end = text.find('\n');
    std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with('[') && line.ends_with(']')) {
      return fail(ErrorCode::kInvalid, "{}:{}: {}: sections are not used; write key = value lines only",
                  file.name, number, culvert::quoted(line));
    }
    size_t equals = line.find('=');
    std::string_view key = trimmed(line.substr(0, equals));
    // The rest of such a line may be a secret that lost its key: only the word is repeated, and only if it is
    // one.
    std::string shown = is_key(key) ? std::string(key) : "line";
    if (equals == std::string_view::npos) {
      return fail(ErrorCode::kInvalid, "{}:{}: {}: there is no '='; write key = value", file.name, number,
                  shown);
    }
    if (!is_key(key)) {
      return fail(ErrorCode::kInvalid,
                  "{}:{}: line: what stands before '=' is no key; keys are the long flags without dashes in "
                  "front, in "
                  "lower case",
                  file.name, number);
    }
    auto earlier = std::ranges::find(file.entries, key, &ConfigEntry::key);
    if (earlier != file.entries.end()) {
      return fail(ErrorCode::kInvalid, "{}:{}: {}: is given twice; line {} has it already", file.name, number,
                  key, earlier->line);
    }
    file.entries.push_back({std::string(key), std::string(trimmed(line.substr(equals + 1))), number});
  }
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
