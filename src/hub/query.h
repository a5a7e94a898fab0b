#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/exchange.h"
#include "http/message.h"

namespace culvert::hub {

// The parameters of a request's query, their values decoded (from_percent()). The one parser of queries.
class Query {
 public:
  // kInvalid, naming what is known here: another parameter, one without a value, one that is there twice, or
  // a value that cannot be decoded.
  static Result<Query> read(const http::Exchange& exchange, std::initializer_list<std::string_view> known);

  // Valid as long as the query.
  std::optional<std::string_view> text(std::string_view name) const;
  // kInvalid: not a whole number up to `most`.
  Result<std::optional<uint64_t>> number(std::string_view name, uint64_t most = INT64_MAX) const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

// Decodes Exchange::rest, the id or name in the path, for the handler that follows; otherwise the answer.
std::optional<http::Response> decode_rest(http::Exchange& exchange);

// What a query that is wrong is answered.
http::Response bad_query(const Error& error);

}  // namespace culvert::hub
