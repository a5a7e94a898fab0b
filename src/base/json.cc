#include "base/json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/stream_parser.hpp>
#include <unordered_set>

#include "base/text.h"

namespace culvert {
namespace {

namespace json = boost::json;

constexpr size_t kMaxDepth = 16;

json::parse_options parse_options() {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  return options;
}

// Events of a JSON text that is known to be valid: remembers the first member that an object has twice.
// Boost.JSON keeps the last one without a word.
class DuplicateFinder {
 public:
  // Names and signatures are those that json::basic_parser calls.
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(size_t, json::error_code&) {
    open_.pop_back();
    return true;
  }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t, json::error_code&) { return true; }
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    if (!found_ && !open_.back().insert(key_).second) found_ = key_;
    key_.clear();
    return true;
  }
  bool on_string_part(json::string_view, size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, size_t, json::error_code&) { return true; }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, json::error_code&) { return true; }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { return true; }
  bool on_double(double, json::string_view, json::error_code&) { return true; }
  bool on_bool(bool, json::error_code&) { return true; }
  bool on_null(json::error_code&) { return true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  const std::optional<std::string>& found() const { return found_; }

 private:
  std::vector<std::unordered_set<std::string>>
      open_;  // the names so far, of each object around the current place
  std::string key_;
  std::optional<std::string> found_;
};

std::optional<std::string> find_duplicate(std::string_view text) {
  json::basic_parser<DuplicateFinder> parser(parse_options());
  json::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return parser.handler().found();
}

}  // namespace

Result<json::value> parse_json(std::string_view what, std::string_view text) {
  json::error_code error;
  json::stream_parser parser({}, parse_options());
  const size_t parsed = parser.write_some(text.data(), text.size(), error);
  if (!error && parser.done() && text.find_first_not_of(" \t\r\n", parsed) != text.npos) {
    error = json::error::extra_data;
  }
  if (!error) parser.finish(error);
  if (error) {
    return fail(ErrorCode::kInvalid, "{}: invalid JSON in line {}, byte {}: {}", what,
                std::ranges::count(text.substr(0, parsed), '\n') + 1, parsed,
                error == json::error::incomplete ? "the text ends too early" : error.message());
  }
  if (auto twice = find_duplicate(text)) {
    return fail(ErrorCode::kInvalid, "{}: member {} is given twice; keep one", what, quoted(*twice));
  }
  return parser.release();
}

Result<json::object> parse_json_object(std::string_view what, std::string_view text) {
  auto value = parse_json(what, text);
  if (!value) return std::unexpected(value.error());
  if (!value->is_object()) return fail(ErrorCode::kInvalid, "{} is not a JSON object", what);
  return std::move(value->get_object());
}

json::array json_array(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.push_back(json::string(text));
  return out;
}

Result<> refuse_unknown_members(std::string_view what, const json::object& object,
                                std::span<const std::string_view> known) {
  for (const auto& member : object) {
    const std::string_view name = member.key();
    if (std::ranges::find(known, name) == known.end()) {
      return fail(ErrorCode::kInvalid, "{} has an unknown member {} (expected {})", what, quoted(name),
                  fmt::join(known, ", "));
    }
  }
  return {};
}

const json::value* JsonReader::find(std::string_view name) {
  const json::value* value = object_.if_contains(name);
  if (!value) set_error(name, "is missing");
  return value;
}

std::string_view JsonReader::text(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return {};
  if (!value->is_string()) {
    set_error(name, "is not a string");
    return {};
  }
  return value->get_string();
}

std::string_view JsonReader::optional_text(std::string_view name) { return has(name) ? text(name) : ""; }

int64_t JsonReader::integer(std::string_view name, int64_t lowest, int64_t highest) {
  const json::value* value = find(name);
  if (!value) return lowest;
  if (!value->is_int64() || value->get_int64() < lowest || value->get_int64() > highest) {
    set_error(name, fmt::format("is not an integer from {} to {}", lowest, highest));
    return lowest;
  }
  return value->get_int64();
}

UnixTime JsonReader::time(std::string_view name) {
  return UnixTime(std::chrono::seconds(integer(name, 0, kMaxUnixSeconds)));
}

bool JsonReader::boolean(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return false;
  if (!value->is_bool()) set_error(name, "is not true or false");
  return value->is_bool() && value->get_bool();
}

const json::array& JsonReader::array(std::string_view name) {
  static const json::array kEmpty;
  const json::value* value = find(name);
  if (!value) return kEmpty;
  if (!value->is_array()) {
    set_error(name, "is not an array");
    return kEmpty;
  }
  return value->get_array();
}

std::vector<std::string> JsonReader::texts(std::string_view name) {
  std::vector<std::string> out;
  for (const json::value& entry : array(name)) {
    if (entry.is_string()) {
      out.emplace_back(entry.get_string());
    } else {
      set_error(name, "holds something that is not a string");
    }
  }
  return out;
}

std::optional<PublicKey> JsonReader::key(std::string_view name) {
  auto key = PublicKey::parse(text(name));
  if (key) return *key;
  set_error(name, "is not a public key");
  return std::nullopt;
}

void JsonReader::set_error(std::string_view name, std::string_view why) {
  if (!error_) error_ = Error{ErrorCode::kInvalid, fmt::format("{}: member \"{}\" {}", what_, name, why)};
}

void JsonReader::set_size_error(std::string_view name, size_t size) {
  set_error(name, fmt::format("is not {} bytes in unpadded base64url", size));
}

}  // namespace culvert
