#pragma once
#include <array>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "acme/problem.h"
#include "base/result.h"
#include "http/message.h"

// What a client is told instead of what it asked for: problem documents (RFC 7807) with the types of RFC
// 8555, 6.7.
namespace culvert::ca {

// Of JWS, in which requests may be signed.
inline constexpr std::array<std::string_view, 3> kSignatureAlgorithms = {"ES256", "RS256", "EdDSA"};

struct Refusal {
  int status;
  acme::ProblemType type;
  std::string detail;
  std::vector<acme::Problem::Part> parts =
      {};                      // one for each name that is the cause, where there are several
  http::Headers headers = {};  // besides those of every answer
};
template <class T = void>
using Outcome = std::expected<T, Refusal>;

template <class... Args>
std::unexpected<Refusal> refuse(int status, acme::ProblemType type, fmt::format_string<Args...> format,
                                Args&&... args) {
  return std::unexpected(
      Refusal{.status = status, .type = type, .detail = fmt::format(format, std::forward<Args>(args)...)});
}
// 400, the request is not what RFC 8555 describes.
template <class... Args>
std::unexpected<Refusal> malformed(fmt::format_string<Args...> format, Args&&... args) {
  return refuse(400, acme::ProblemType::kMalformed, format, std::forward<Args>(args)...);
}

http::Response to_response(const Refusal& refusal);

// The member "error" of a challenge, as JSON.
std::string to_json(const acme::Problem& problem, int status);

}  // namespace culvert::ca
