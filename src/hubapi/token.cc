#include "hubapi/token.h"

#include <fmt/format.h>
#include <algorithm>
#include <optional>

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

constexpr std::string_view kFamily = "cvt_inv_";
constexpr std::string_view kVersion = "1";
constexpr size_t kChecksumSize = 4;
constexpr size_t kMaxToken = 8192;  // room for every URL below; a paste of something else stops here
constexpr size_t kMaxHubUrls = 16;  // an agent tries them in order: more would only delay the error

constexpr const char* kCopyAgain = "copy the whole token again, from cvt_inv_ to its end";
constexpr const char* kNewInvite = "ask for a new invite";

// The parts between the dots, in order.
enum Part : size_t { kUrls, kHubKey, kInviteId, kSecret, kTenantSeed, kChecksum, kPartCount };
struct PartFacts {
  const char* name;
  size_t size;  // in bytes; 0 is any
};
constexpr std::array<PartFacts, kPartCount> kParts = {{{"hub URLs", 0},
                                                       {"hub key", PublicKey::kSize},
                                                       {"invite id", 16},
                                                       {"invite secret", 32},
                                                       {"tenant key", SecretKey::kSize},
                                                       {"checksum", kChecksumSize}}};

// Decoded; two of them are secrets.
using DecodedParts = std::array<SecretBuffer, kPartCount>;

std::unexpected<Error> bad_token(std::string_view what, std::string_view next_step) {
  return fail(ErrorCode::kInvalid, "invite token: {}; {}", what, next_step);
}

Bytes checksum_of(std::string_view before_its_dot) {
  const Sha256 digest = sha256(as_bytes(before_its_dot));
  return to_bytes(ByteView(digest).first(kChecksumSize));
}

// What editors, shells and chat programs add to a token.
Result<> check_wrapping(std::string_view text) {
  const auto starts_with_any = [text](std::initializer_list<std::string_view> beginnings) {
    return std::ranges::any_of(beginnings, [text](std::string_view each) { return text.starts_with(each); });
  };
  if (starts_with_any({"\xff\xfe", "\xfe\xff"}) || text.contains('\0')) {
    return bad_token("it is UTF-16 text, as PowerShell's > writes it",
                     "save it as plain ASCII or UTF-8 text");
  }
  if (text.starts_with("\xef\xbb\xbf"))
    return bad_token("it begins with a byte order mark (BOM)", "save it as UTF-8 without one");
  // Straight, backquotes, and the quotation marks of languages: U+2018 to U+201F, U+00AB, U+00BB.
  if (starts_with_any({"\"", "'", "`", "\xe2\x80\x98", "\xe2\x80\x99", "\xe2\x80\x9a", "\xe2\x80\x9c",
                       "\xe2\x80\x9d", "\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb"}))
    return bad_token("it begins with a quotation mark", "remove the quotes around it");
  return {};
}

// What stands before the first dot: "cvt_inv_1" or an explanation.
Result<> check_prefix(std::string_view prefix) {
  if (!prefix.starts_with(kFamily)) {
    return bad_token(
        "it does not start with cvt_inv_1, so it is not a Culvert invite, or its beginning is missing",
        kCopyAgain);
  }
  const std::string_view version = prefix.substr(kFamily.size());
  if (version == kVersion) return {};
  const auto number = whole_number<uint32_t>(version);
  if (!number) {
    return bad_token("its version, after cvt_inv_, is not a number", kCopyAgain);
  }
  if (version.size() > 1 && version.starts_with('0')) {
    return bad_token("its version, after cvt_inv_, begins with 0, so a character was added", kCopyAgain);
  }
  return fail(ErrorCode::kInvalid,
              "invite token: it has version {} (prefix cvt_inv_{}), this program reads version {}; "
              "use a program as new as the hub, or {}",
              *number, *number, kVersion, kNewInvite);
}

Result<DecodedParts> decode_parts(std::string_view parts) {
  DecodedParts out;
  size_t found = 0;
  for (bool more = true; more; ++found) {
    const size_t dot = parts.find('.');
    more = dot != parts.npos;
    const std::string_view part = parts.substr(0, dot);
    parts = more ? parts.substr(dot + 1) : std::string_view();
    if (found >= kPartCount) return bad_token("it has more than its six parts", kCopyAgain);
    const PartFacts& facts = kParts[found];
    if (part.empty())
      return bad_token(fmt::format("its {} (part {} of 6) is empty", facts.name, found + 1), kCopyAgain);
    auto bytes = from_base64url(part);
    if (!bytes) {
      return bad_token(
          fmt::format("its {} (part {} of 6) is damaged: {}", facts.name, found + 1, bytes.error().message),
          kCopyAgain);
    }
    out[found] = SecretBuffer(std::move(*bytes));
    const size_t size = out[found].size();
    if (facts.size != 0 && size != facts.size) {
      return bad_token(fmt::format("its {} (part {} of 6) has {} bytes instead of {}", facts.name, found + 1,
                                   size, facts.size),
                       kCopyAgain);
    }
  }
  if (found < kPartCount) {
    return bad_token(fmt::format("it ends after part {} of 6, its {} is missing", found, kParts[found].name),
                     kCopyAgain);
  }
  return out;
}

Result<std::vector<std::string>> split_urls(ByteView joined) {
  std::vector<std::string> urls;
  std::string_view rest = as_text(joined);
  for (bool more = true; more;) {
    const size_t space = rest.find(' ');
    more = space != rest.npos;
    urls.emplace_back(rest.substr(0, space));
    rest = more ? rest.substr(space + 1) : std::string_view();
    if (urls.size() > kMaxHubUrls)
      return bad_token(fmt::format("it names more than {} hub URLs", kMaxHubUrls), kNewInvite);
    auto url = parse_hub_url(urls.back());
    if (!url) return bad_token(fmt::format("hub URL {}: {}", urls.size(), url.error().message), kNewInvite);
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

}  // namespace

std::string InviteToken::encode() const {
  std::string joined;
  for (const std::string& url : hub_urls) {
    CHECK(parse_hub_url(url).has_value());
    if (!joined.empty()) joined += ' ';
    joined += url;
  }
  std::string text = fmt::format("{}{}", kFamily, kVersion);
  for (ByteView part : {as_bytes(joined), ByteView(hub_key.bytes()), ByteView(invite_id),
                        ByteView(invite_secret.expose()), tenant_key.expose_seed()}) {
    text += '.';
    text += to_base64url(part);
  }
  text += '.' + to_base64url(checksum_of(text));
  return text;
}

std::string InviteToken::describe() const {
  return fmt::format("invite {} of hub {} at {}", to_base64url(invite_id), hub_key.short_text(),
                     fmt::join(hub_urls, " "));
}

Result<InviteToken> parse_invite_token(std::string_view text) {
  const std::string_view token = trim(text);
  if (token.empty()) return bad_token("it is empty", kCopyAgain);
  auto bare = check_wrapping(token);
  if (!bare) return std::unexpected(bare.error());
  if (token.size() > kMaxToken)
    return bad_token(fmt::format("it is longer than {} bytes", kMaxToken), kCopyAgain);
  if (token.find_first_of(" \t\r\n") != token.npos) {
    return bad_token("it has white space inside", "copy the whole token again, as one line");
  }
  const size_t dot = token.find('.');
  auto prefix = check_prefix(token.substr(0, dot));
  if (!prefix) return std::unexpected(prefix.error());
  if (dot == token.npos) return bad_token("nothing follows its prefix", kCopyAgain);

  auto parts = decode_parts(token.substr(dot + 1));
  if (!parts) return std::unexpected(parts.error());
  if (!std::ranges::equal(checksum_of(token.substr(0, token.rfind('.'))), (*parts)[kChecksum].expose())) {
    return bad_token("its checksum does not fit, so a character of it has changed", kCopyAgain);
  }

  // From here on the token is as it was made: another copy would not help.
  auto urls = split_urls((*parts)[kUrls].expose());
  if (!urls) return std::unexpected(urls.error());
  auto hub_key = PublicKey::from_bytes((*parts)[kHubKey].expose());
  if (!hub_key)
    return bad_token(fmt::format("its hub key is wrong: {}", hub_key.error().message), kNewInvite);
  auto tenant_key = SecretKey::from_seed((*parts)[kTenantSeed].expose());
  if (!tenant_key)
    return bad_token(fmt::format("its tenant key is wrong: {}", tenant_key.error().message), kNewInvite);
  std::array<uint8_t, 16> invite_id;
  std::ranges::copy((*parts)[kInviteId].expose(), invite_id.begin());
  return InviteToken{.hub_urls = std::move(*urls),
                     .hub_key = *hub_key,
                     .invite_id = invite_id,
                     .invite_secret = SecretBytes<32>::from((*parts)[kSecret].expose()),
                     .tenant_key = *tenant_key};
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

std::vector<HubUrl> hub_urls(const InviteToken& token) {
  std::vector<HubUrl> urls;
  for (const std::string& text : token.hub_urls) {
    auto url = parse_hub_url(text);
    if (url) urls.push_back(std::move(*url));
  }
  return urls;
}

}  // namespace culvert::hubapi
