#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "http/headers.h"

// The fields of an answer that ACME gives a meaning.
namespace culvert::acme {

// Replay-Nonce (RFC 8555, 6.5.1). nullopt: none, or one that is not base64url, which is to be ignored.
std::optional<std::string> replay_nonce(const http::Headers& headers);

// Retry-After (RFC 9110, 10.2.3): seconds or a date. Never negative; at most kMaxRetryAfter.
inline constexpr Duration kMaxRetryAfter = std::chrono::days(30);
std::optional<Duration> retry_after(const http::Headers& headers, UnixTime now);

// The targets of the Link fields with this relation, at most kMaxLinks (RFC 8288, 3).
inline constexpr size_t kMaxLinks = 8;
std::vector<std::string> links(const http::Headers& headers, std::string_view relation);

}  // namespace culvert::acme
