#pragma once
#include <cstddef>
#include <string_view>

namespace culvert::tunnel {

// What a CA asks for on port 80 to see that a hostname leads to whoever ordered its certificate (RFC
// 8555, 8.3). Of a passthrough hostname these requests go to the origin, and no others: edge and agent both
// look.
inline constexpr std::string_view kChallengePath = "/.well-known/acme-challenge/";
inline constexpr size_t kMaxChallengeToken = 128;

// GET or HEAD of that path with a token behind it, which has the characters of base64url, and no query.
bool is_challenge_request(std::string_view method, std::string_view target);

}  // namespace culvert::tunnel
