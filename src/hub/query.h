#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/exchange.h"
#include "http/message.h"

namespace culvert::hub {

// The parameters of a request's query. Their values are taken as they are written: nothing is decoded.
class Query {
 public:
  // kInvalid, naming what is known here: another parameter, one without a value, or one that is there twice.
  // The exchange outlives what is returned.
  static Result<Query> read(const http::Exchange& exchange, std::initializer_list<std::string_view> known);

  std::optional<std::string_view> text(std::string_view name) const;
  // kInvalid: not a whole number up to `most`.
  Result<std::optional<uint64_t>> number(std::string_view name, uint64_t most = INT64_MAX) const;

 private:
  std::vector<std::pair<std::string_view, std::string_view>> values_;
};

// What a query that is wrong is answered.
http::Response bad_query(const Error& error);

}  // namespace culvert::hub
