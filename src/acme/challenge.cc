#include "acme/challenge.h"

#include <algorithm>
#include <array>

#include "acme/jws.h"
#include "base/ascii.h"
#include "base/encoding.h"

namespace culvert::acme {
namespace {

constexpr std::array<const char*, kChallengeTypes> kNames = {"tls-alpn-01", "http-01", "dns-01"};
// RFC 8555, 8.1 wants 128 bits and names no limit; those of today's CAs are of 43 characters.
constexpr size_t kMaxToken = 256;

}  // namespace

const char* to_string(ChallengeType type) { return kNames.at(static_cast<size_t>(type)); }

std::optional<ChallengeType> parse_challenge_type(std::string_view text) {
  const auto at = std::ranges::find(kNames, text);
  if (at == kNames.end()) return std::nullopt;
  return static_cast<ChallengeType>(at - kNames.begin());
}

bool is_challenge_token(std::string_view text) {
  return !text.empty() && text.size() <= kMaxToken && std::ranges::all_of(text, [](char c) {
    const char lower = to_lower(c);
    return is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '-' || c == '_';
  });
}

Challenge Challenge::make(ChallengeType type, std::string name, std::string token,
                          const tls::P256Key& account_key) {
  std::string authorization = token + "." + jwk_thumbprint(account_key);
  return {.type = type,
          .name = std::move(name),
          .token = std::move(token),
          .key_authorization = std::move(authorization)};
}

Sha256 Challenge::digest() const { return sha256(as_bytes(key_authorization)); }

std::string Challenge::dns_text() const { return to_base64url(digest()); }

}  // namespace culvert::acme
