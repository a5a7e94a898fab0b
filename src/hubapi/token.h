#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/key.h"
#include "base/result.h"
#include "base/secret.h"

namespace culvert::hubapi {

// What an invite token carries. It is a secret: only encode() shows it, describe() is for logs and people.
struct InviteToken {
  std::vector<std::string> hub_urls;  // https://host[:port], tried in order
  PublicKey hub_key;                  // who must answer there
  std::array<uint8_t, 16> invite_id;
  SecretBytes<32> invite_secret;
  SecretKey tenant_key;

  // "cvt_inv_1." then urls (joined by one space), hub key, invite id, secret, tenant seed, checksum: each
  // unpadded base64url, joined by '.'. The checksum is the first 4 bytes of SHA-256 over all text before its
  // dot.
  std::string encode() const;
  // hub URLs, hub key and invite id; never the secret or the seed.
  std::string describe() const;
};

// Surrounding whitespace is fine. kInvalid names the part that is wrong and what to do about it; it never
// repeats the token's text.
Result<InviteToken> parse_invite_token(std::string_view text);

// What the token of an edge carries: the edge proves itself by the key alone. It is a secret, as the
// invite's.
struct EdgeToken {
  std::vector<std::string> hub_urls;  // as in InviteToken
  PublicKey hub_key;
  SecretKey edge_key;  // the edge's identity, in tunnels as well

  // "cvt_edge_1." then urls, hub key, edge seed, checksum: as InviteToken::encode().
  std::string encode() const;
  std::string describe() const;
};

// As parse_invite_token(). Tokens of one kind are never read as those of the other.
Result<EdgeToken> parse_edge_token(std::string_view text);

// An https URL of a hub, taken apart. kInvalid: not https, no host, a path, a query, or 0.0.0.0.
struct HubUrl {
  std::string host;  // without brackets
  uint16_t port;     // 443 unless given
  std::string to_string() const;
};
Result<HubUrl> parse_hub_url(std::string_view text);

// Where a token's hub is, in the order of the token. Texts that are no URLs, which the parsers above refuse,
// are left out.
std::vector<HubUrl> parse_hub_urls(const std::vector<std::string>& texts);

}  // namespace culvert::hubapi
