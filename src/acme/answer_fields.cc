#include "acme/answer_fields.h"

#include <algorithm>

#include "acme/challenge.h"
#include "base/ascii.h"
#include "base/whole_number.h"
#include "http/date.h"

namespace culvert::acme {
namespace {

// The text up to `stop` outside of quotes, and what follows it.
std::string_view take_until(std::string_view& text, std::string_view stop) {
  bool in_quotes = false;
  size_t end = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '"') in_quotes = !in_quotes;
    if (text[end] == '\\' && in_quotes) ++end;
    if (!in_quotes && end < text.size() && stop.find(text[end]) != stop.npos) break;
  }
  end = std::min(end, text.size());
  const std::string_view out = text.substr(0, end);
  text.remove_prefix(end);
  return out;
}

bool lists_relation(std::string_view value, std::string_view relation) {
  if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"'))
    value = value.substr(1, value.size() - 2);
  while (!value.empty()) {
    const size_t end = std::min(value.find(' '), value.size());
    if (equals_lower(value.substr(0, end), relation)) return true;
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return false;
}

// One link of a field, taken from the front of `text`; empty: it has another relation or is malformed.
std::string_view take_link(std::string_view& text, std::string_view relation) {
  std::string_view target;
  const std::string_view before = text.substr(0, text.find('<'));
  if (trim(before).empty() && before.size() < text.size()) {
    text.remove_prefix(before.size() + 1);
    const size_t end = text.find('>');
    if (end == text.npos) {
      text = {};
      return {};
    }
    target = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  bool has_relation = false;
  while (!text.empty() && !text.starts_with(',')) {
    const std::string_view parameter = trim(take_until(text, ";,"));
    constexpr std::string_view kRel = "rel=";
    if (equals_lower(parameter.substr(0, kRel.size()), kRel)) {
      has_relation = lists_relation(parameter.substr(kRel.size()), relation);
    }
    if (text.starts_with(';')) text.remove_prefix(1);
  }
  if (text.starts_with(',')) text.remove_prefix(1);
  return has_relation ? target : std::string_view();
}

}  // namespace

std::optional<std::string> replay_nonce(const http::Headers& headers) {
  const std::string* value = headers.find("replay-nonce");
  if (value == nullptr || !is_challenge_token(*value)) return std::nullopt;
  return *value;
}

std::optional<Duration> retry_after(const http::Headers& headers, UnixTime now) {
  const std::string* value = headers.find("retry-after");
  if (value == nullptr) return std::nullopt;
  constexpr auto kMost = std::chrono::duration_cast<std::chrono::seconds>(kMaxRetryAfter);
  if (!value->empty() && std::ranges::all_of(*value, is_digit)) {
    const int64_t seconds = whole_number<int64_t>(*value).value_or(kMost.count());
    return std::min(std::chrono::seconds(seconds), kMost);
  }
  const auto date = http::parse_date(*value);
  if (!date) return std::nullopt;
  return std::clamp(*date - now, std::chrono::seconds(0), kMost);
}

std::vector<std::string> links(const http::Headers& headers, std::string_view relation) {
  std::vector<std::string> out;
  for (const auto& [name, value] : headers) {
    if (!equals_lower(name, "link")) continue;
    std::string_view rest = value;
    while (!rest.empty() && out.size() < kMaxLinks) {
      const std::string_view target = take_link(rest, relation);
      if (!target.empty()) out.emplace_back(target);
    }
  }
  return out;
}

}  // namespace culvert::acme
