#include "hub/query.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"
#include "base/whole_number.h"
#include "hub/answers.h"

namespace culvert::hub {

Result<Query> Query::read(const http::Exchange& exchange, std::initializer_list<std::string_view> known) {
  Query out;
  const std::string_view target = exchange.request.target;
  const size_t mark = target.find('?');
  if (mark == std::string_view::npos) return out;
  std::string_view rest = target.substr(mark + 1);
  while (true) {
    const size_t end = rest.find('&');
    const std::string_view parameter = rest.substr(0, end);
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string_view name = parameter.substr(0, equals);
    if (std::ranges::find(known, name) == known.end() || equals + 1 >= parameter.size()) {
      return fail(ErrorCode::kInvalid, "the query has {}; what may be there is {}=...",
                  culvert::quoted(parameter), fmt::join(known, "=..., "));
    }
    if (out.text(name)) return fail(ErrorCode::kInvalid, "the query has {} twice; give it once", name);
    auto value = from_percent(parameter.substr(equals + 1));
    if (!value) return fail(ErrorCode::kInvalid, "the query's {}=...: {}", name, value.error().message);
    out.values_.emplace_back(name, std::move(*value));
    if (end == std::string_view::npos) return out;
    rest.remove_prefix(end + 1);
  }
}

std::optional<std::string_view> Query::text(std::string_view name) const {
  const auto found = std::ranges::find(values_, name, &decltype(values_)::value_type::first);
  return found == values_.end() ? std::nullopt : std::optional<std::string_view>(found->second);
}

Result<std::optional<uint64_t>> Query::number(std::string_view name, uint64_t most) const {
  const auto value = text(name);
  if (!value) return std::optional<uint64_t>();
  const auto number = whole_number<uint64_t>(*value);
  if (!number || *number > most) {
    return fail(ErrorCode::kInvalid, "{}={} is not a whole number from 0 to {}", name,
                culvert::quoted(*value), most);
  }
  return number;
}

std::optional<http::Response> decode_rest(http::Exchange& exchange) {
  auto decoded = from_percent(exchange.rest);
  if (!decoded) return error_response(400, "invalid_request", "the path: " + decoded.error().message);
  exchange.rest = std::move(*decoded);
  return std::nullopt;
}

http::Response bad_query(const Error& error) { return error_response(400, "invalid_request", error.message); }

}  // namespace culvert::hub
