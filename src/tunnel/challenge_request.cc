#include "tunnel/challenge_request.h"

#include <algorithm>

namespace culvert::tunnel {
namespace {

bool is_token_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

bool is_challenge_request(std::string_view method, std::string_view target) {
  if (method != "GET" && method != "HEAD") return false;
  if (!target.starts_with(kChallengePath)) return false;
  const std::string_view token = target.substr(kChallengePath.size());
  return !token.empty() && token.size() <= kMaxChallengeToken &&
         std::ranges::all_of(token, is_token_character);
}

}  // namespace culvert::tunnel
