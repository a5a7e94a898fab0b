#include "hubapi/token.h"

#include <fmt/format.h>
#include <algorithm>
#include <initializer_list>
#include <span>

#include "base/ascii.h"
#include "base/check.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/host_port.h"
#include "base/hostname.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::hubapi {
namespace {

constexpr std::string_view kVersion = "1";
constexpr size_t kChecksumSize = 4;
constexpr size_t kMaxToken = 8192;  // room for every URL below; a paste of something else stops here
constexpr size_t kMaxHubUrls = 16;  // they are tried in order: more would only delay the error

struct PartFacts {
  const char* name;
  size_t size;  // in bytes; 0 is any
};
constexpr PartFacts kUrlsFacts{"hub URLs", 0};
constexpr PartFacts kHubKeyFacts{"hub key", PublicKey::kSize};
constexpr PartFacts kChecksumFacts{"checksum", kChecksumSize};

// One kind of token: what it looks like, and what is said of one that is wrong.
struct Kind {
  std::string_view family;  // before its version
  std::string_view name;
  std::string_view copy_again;
  std::string_view renew;
  std::string_view is_another;  // what it is not, when its prefix is another
  std::span<const PartFacts>
      parts;  // between the dots, in order; the first two and the last are the same in all
};

enum CommonPart : size_t { kUrls, kHubKey };

enum InvitePart : size_t { kInviteId = 2, kSecret, kTenantSeed };
constexpr std::array<PartFacts, 6> kInviteParts = {{kUrlsFacts,
                                                    kHubKeyFacts,
                                                    {"invite id", 16},
                                                    {"invite secret", 32},
                                                    {"tenant key", SecretKey::kSize},
                                                    kChecksumFacts}};
constexpr Kind kInvite{.family = "cvt_inv_",
                       .name = "invite token",
                       .copy_again = "copy the whole token again, from cvt_inv_ to its end",
                       .renew = "ask for a new invite",
                       .is_another = "a Culvert invite",
                       .parts = kInviteParts};

enum EdgePart : size_t { kEdgeSeed = 2 };
constexpr std::array<PartFacts, 4> kEdgeParts = {
    {kUrlsFacts, kHubKeyFacts, {"edge key", SecretKey::kSize}, kChecksumFacts}};
constexpr Kind kEdge{.family = "cvt_edge_",
                     .name = "edge token",
                     .copy_again = "copy the whole token again, from cvt_edge_ to its end",
                     .renew = "make a new one with `culvert edge-invite create`",
                     .is_another = "the token of a Culvert edge",
                     .parts = kEdgeParts};

// Decoded; some of them are secrets.
using DecodedParts = std::vector<SecretBuffer>;

std::unexpected<Error> bad_token(const Kind& kind, std::string_view what, std::string_view next_step) {
  return fail(ErrorCode::kInvalid, "{}: {}; {}", kind.name, what, next_step);
}

Bytes checksum_of(std::string_view before_its_dot) {
  const Sha256 digest = sha256(as_bytes(before_its_dot));
  return to_bytes(ByteView(digest).first(kChecksumSize));
}

// What editors, shells and chat programs add to a token.
Result<> check_wrapping(const Kind& kind, std::string_view text) {
  const auto starts_with_any = [text](std::initializer_list<std::string_view> beginnings) {
    return std::ranges::any_of(beginnings, [text](std::string_view each) { return text.starts_with(each); });
  };
  if (starts_with_any({"\xff\xfe", "\xfe\xff"}) || text.contains('\0')) {
    return bad_token(kind, "it is UTF-16 text, as PowerShell's > writes it",
                     "save it as plain ASCII or UTF-8 text");
  }
  if (text.starts_with("\xef\xbb\xbf"))
    return bad_token(kind, "it begins with a byte order mark (BOM)", "save it as UTF-8 without one");
  // Straight, backquotes, and the quotation marks of languages: U+2018 to U+201F, U+00AB, U+00BB.
  if (starts_with_any({"\"", "'", "`", "\xe2\x80\x98", "\xe2\x80\x99", "\xe2\x80\x9a", "\xe2\x80\x9c",
                       "\xe2\x80\x9d", "\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb"}))
    return bad_token(kind, "it begins with a quotation mark", "remove the quotes around it");
  return {};
}

// What stands before the first dot: "cvt_inv_1" or an explanation.
Result<> check_prefix(const Kind& kind, std::string_view prefix) {
  if (!prefix.starts_with(kind.family)) {
    for (const Kind* other : {&kInvite, &kEdge}) {
      if (prefix.starts_with(other->family)) {
        return bad_token(kind, fmt::format("it is an {}, which starts with {}", other->name, other->family),
                         fmt::format("give one that starts with {}{}", kind.family, kVersion));
      }
    }
    return bad_token(kind,
                     fmt::format("it does not start with {}{}, so it is not {}, or its beginning is missing",
                                 kind.family, kVersion, kind.is_another),
                     kind.copy_again);
  }
  const std::string_view version = prefix.substr(kind.family.size());
  if (version == kVersion) return {};
  const auto number = whole_number<uint32_t>(version);
  if (!number) {
    return bad_token(kind, fmt::format("its version, after {}, is not a number", kind.family),
                     kind.copy_again);
  }
  if (version.size() > 1 && version.starts_with('0')) {
    return bad_token(
        kind, fmt::format("its version, after {}, begins with 0, so a character was added", kind.family),
        kind.copy_again);
  }
  return fail(ErrorCode::kInvalid,
              "{}: it has version {} (prefix {}{}), this program reads version {}; "
              "use a program as new as the hub, or {}",
              kind.name, *number, kind.family, *number, kVersion, kind.renew);
}

Result<DecodedParts> decode_parts(const Kind& kind, std::string_view parts) {
  const size_t count = kind.parts.size();
  DecodedParts out;
  for (bool more = true; more;) {
    const size_t dot = parts.find('.');
    more = dot != parts.npos;
    const std::string_view part = parts.substr(0, dot);
    parts = more ? parts.substr(dot + 1) : std::string_view();
    if (out.size() >= count)
      return bad_token(kind, fmt::format("it has more than its {} parts", count), kind.copy_again);
    const PartFacts& facts = kind.parts[out.size()];
    const std::string place = fmt::format("its {} (part {} of {})", facts.name, out.size() + 1, count);
    if (part.empty()) return bad_token(kind, place + " is empty", kind.copy_again);
    auto bytes = from_base64url(part);
    if (!bytes) {
      return bad_token(kind, fmt::format("{} is damaged: {}", place, bytes.error().message), kind.copy_again);
    }
    out.emplace_back(std::move(*bytes));
    const size_t size = out.back().size();
    if (facts.size != 0 && size != facts.size) {
      return bad_token(kind, fmt::format("{} has {} bytes instead of {}", place, size, facts.size),
                       kind.copy_again);
    }
  }
  if (out.size() < count) {
    return bad_token(kind,
                     fmt::format("it ends after part {} of {}, its {} is missing", out.size(), count,
                                 kind.parts[out.size()].name),
                     kind.copy_again);
  }
  return out;
}

Result<std::vector<std::string>> split_urls(const Kind& kind, ByteView joined) {
  std::vector<std::string> urls;
  std::string_view rest = as_text(joined);
  for (bool more = true; more;) {
    const size_t space = rest.find(' ');
    more = space != rest.npos;
    urls.emplace_back(rest.substr(0, space));
    rest = more ? rest.substr(space + 1) : std::string_view();
    if (urls.size() > kMaxHubUrls)
      return bad_token(kind, fmt::format("it names more than {} hub URLs", kMaxHubUrls), kind.renew);
    auto url = parse_hub_url(urls.back());
    if (!url)
      return bad_token(kind, fmt::format("hub URL {}: {}", urls.size(), url.error().message), kind.renew);
  }
  return urls;
}

// A name or an IPv4 address in canonical form.
bool is_plain_host(const std::string& host) {
  if (SocketAddr::parse(host + ":0")) return true;
  if (!is_hostname(host)) return false;
  // "0", "127.1" and "0x7f.1" are addresses to the resolver, and not the ones that people mean.
  return !is_digit(host[host.rfind('.') + 1]);  // npos + 1 is 0
}

std::string encode_parts(const Kind& kind, const std::vector<std::string>& hub_urls, const PublicKey& hub_key,
                         std::initializer_list<ByteView> parts) {
  std::string joined;
  for (const std::string& url : hub_urls) {
    CHECK(parse_hub_url(url).has_value());
    if (!joined.empty()) joined += ' ';
    joined += url;
  }
  std::string text = fmt::format("{}{}.{}.{}", kind.family, kVersion, to_base64url(as_bytes(joined)),
                                 to_base64url(hub_key.bytes()));
  for (ByteView part : parts) {
    text += '.';
    text += to_base64url(part);
  }
  text += '.' + to_base64url(checksum_of(text));
  return text;
}

// What all tokens have, and the parts with the rest.
struct Parsed {
  std::vector<std::string> hub_urls;
  PublicKey hub_key;
  DecodedParts parts;
};

Result<Parsed> parse_token(const Kind& kind, std::string_view text) {
  const std::string_view token = trim(text);
  if (token.empty()) return bad_token(kind, "it is empty", kind.copy_again);
  auto bare = check_wrapping(kind, token);
  if (!bare) return std::unexpected(bare.error());
  if (token.size() > kMaxToken)
    return bad_token(kind, fmt::format("it is longer than {} bytes", kMaxToken), kind.copy_again);
  if (token.find_first_of(" \t\r\n") != token.npos) {
    return bad_token(kind, "it has white space inside", "copy the whole token again, as one line");
  }
  const size_t dot = token.find('.');
  auto prefix = check_prefix(kind, token.substr(0, dot));
  if (!prefix) return std::unexpected(prefix.error());
  if (dot == token.npos) return bad_token(kind, "nothing follows its prefix", kind.copy_again);

  auto parts = decode_parts(kind, token.substr(dot + 1));
  if (!parts) return std::unexpected(parts.error());
  if (!std::ranges::equal(checksum_of(token.substr(0, token.rfind('.'))), parts->back().expose())) {
    return bad_token(kind, "its checksum does not fit, so a character of it has changed", kind.copy_again);
  }

  // From here on the token is as it was made: another copy would not help.
  auto urls = split_urls(kind, (*parts)[kUrls].expose());
  if (!urls) return std::unexpected(urls.error());
  auto hub_key = PublicKey::from_bytes((*parts)[kHubKey].expose());
  if (!hub_key) {
    return bad_token(kind, fmt::format("its hub key is wrong: {}", hub_key.error().message), kind.renew);
  }
  return Parsed{std::move(*urls), *hub_key, std::move(*parts)};
}

}  // namespace

std::string InviteToken::encode() const {
  return encode_parts(kInvite, hub_urls, hub_key,
                      {ByteView(invite_id), ByteView(invite_secret.expose()), tenant_key.expose_seed()});
}

std::string InviteToken::describe() const {
  return fmt::format("invite {} of hub {} at {}", to_base64url(invite_id), hub_key.short_text(),
                     fmt::join(hub_urls, " "));
}

Result<InviteToken> parse_invite_token(std::string_view text) {
  auto token = parse_token(kInvite, text);
  if (!token) return std::unexpected(token.error());
  auto tenant_key = SecretKey::from_seed(token->parts[kTenantSeed].expose());
  if (!tenant_key) {
    return bad_token(kInvite, fmt::format("its tenant key is wrong: {}", tenant_key.error().message),
                     kInvite.renew);
  }
  std::array<uint8_t, 16> invite_id;
  std::ranges::copy(token->parts[kInviteId].expose(), invite_id.begin());
  return InviteToken{.hub_urls = std::move(token->hub_urls),
                     .hub_key = token->hub_key,
                     .invite_id = invite_id,
                     .invite_secret = SecretBytes<32>::from(token->parts[kSecret].expose()),
                     .tenant_key = *tenant_key};
}

std::string EdgeToken::encode() const {
  return encode_parts(kEdge, hub_urls, hub_key, {edge_key.expose_seed()});
}

std::string EdgeToken::describe() const {
  return fmt::format("edge {} of hub {} at {}", edge_key.public_key().short_text(), hub_key.short_text(),
                     fmt::join(hub_urls, " "));
}

Result<EdgeToken> parse_edge_token(std::string_view text) {
  auto token = parse_token(kEdge, text);
  if (!token) return std::unexpected(token.error());
  auto edge_key = SecretKey::from_seed(token->parts[kEdgeSeed].expose());
  if (!edge_key) {
    return bad_token(kEdge, fmt::format("its edge key is wrong: {}", edge_key.error().message), kEdge.renew);
  }
  return EdgeToken{.hub_urls = std::move(token->hub_urls), .hub_key = token->hub_key, .edge_key = *edge_key};
}

std::string HubUrl::to_string() const {
  std::string out = host.find(':') == host.npos ? "https://" + host : "https://[" + host + "]";
  if (port != 443) out += fmt::format(":{}", port);
  return out;
}

Result<HubUrl> parse_hub_url(std::string_view text) {
  constexpr std::string_view kScheme = "https://";
  const auto wrong = [text](std::string_view what) {
    return fail(ErrorCode::kInvalid, "hub URL {} {}; write it like https://hub.example.eu:8443", quoted(text),
                what);
  };
  const std::string folded = to_lower(text);
  if (!folded.starts_with(kScheme)) return wrong("is not https");
  std::string rest = folded.substr(kScheme.size());
  if (rest.find('?') != rest.npos) return wrong("has a query");
  if (rest.find('#') != rest.npos) return wrong("has a fragment");
  if (rest.ends_with('/')) rest.pop_back();
  if (rest.find('/') != rest.npos) return wrong("has a path");
  if (rest.find('@') != rest.npos) return wrong("has a user name");

  const bool bracketed = rest.starts_with('[');
  const size_t close = rest.find(']');
  if (bracketed && close == rest.npos) return wrong("has no bracket at the end of its IPv6 address");
  const size_t colon = rest.find(':', bracketed ? close : 0);
  HubUrl url{.host = rest.substr(0, colon), .port = 443};
  if (colon != rest.npos) {
    const auto port = parse_port(std::string_view(rest).substr(colon + 1));
    if (!port) return wrong("has a wrong port; ports are 1 to 65535");
    url.port = *port;
  }
  if (url.host.empty()) return wrong("has no host");
  const auto address = SocketAddr::parse(url.host + ":0");
  if (address && address->is_unspecified()) return wrong("is the unspecified address");
  if (bracketed) {
    if (!address) return wrong("has a wrong IPv6 address");
    url.host = address->ip_text();
  } else if (!is_plain_host(url.host)) {
    return wrong("has a wrong host");
  }
  return url;
}

std::vector<HubUrl> parse_hub_urls(const std::vector<std::string>& texts) {
  std::vector<HubUrl> urls;
  for (const std::string& text : texts) {
    auto url = parse_hub_url(text);
    if (url) urls.push_back(std::move(*url));
  }
  return urls;
}

}  // namespace culvert::hubapi
