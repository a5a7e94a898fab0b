#include "hubapi/token.h"

#include <gtest/gtest.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/small_order_keys.h"

namespace culvert::hubapi {
namespace {

InviteToken sample() {
  InviteToken token{.hub_urls = {"https://hub.example.eu:8443", "https://192.0.2.7"},
                    .hub_key = SecretKey::from_seed(Bytes(32, 0x2a))->public_key(),
                    .invite_id = {},
                    .invite_secret = {},
                    .tenant_key = SecretKey::from_seed(Bytes(32, 0x07)).value()};
  token.invite_id.fill(0x11);
  token.invite_secret = SecretBytes<32>::from(Bytes(32, 0x22));
  return token;
}

constexpr size_t kUrls = 1, kHubKey = 2, kInviteId = 3, kSecret = 4, kSeed = 5, kChecksum = 6;

std::vector<std::string> parts_of(const std::string& token) {
  std::vector<std::string> parts(1);
  for (char c : token) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string join(const std::vector<std::string>& parts) {
  std::string out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) out += '.' + parts[i];
  return out;
}

// The sample with one part replaced, as damage on the way would do: the checksum stays.
std::string damaged(size_t part, const std::string& text) {
  auto parts = parts_of(sample().encode());
  parts[part] = text;
  return join(parts);
}

// The sample with one part replaced, as a faulty hub would make it: the checksum fits.
std::string remade(size_t part, ByteView content) {
  auto parts = parts_of(sample().encode());
  parts[part] = to_base64url(content);
  parts.pop_back();
  const Sha256 digest = sha256(as_bytes(join(parts)));
  parts.push_back(to_base64url(ByteView(digest).first(4)));
  return join(parts);
}

void expect_invalid(const std::string& text, std::string_view what, std::string_view next_step) {
  auto token = parse_invite_token(text);
  ASSERT_FALSE(token) << what;
  EXPECT_EQ(token.error().code, ErrorCode::kInvalid);
  const std::string& message = token.error().message;
  EXPECT_NE(message.find(what), std::string::npos) << message << "\nexpected " << what;
  EXPECT_NE(message.find(next_step), std::string::npos) << message << "\nexpected " << next_step;
  for (const std::string& part : parts_of(text)) {
    if (part.size() > 12) EXPECT_EQ(message.find(part), std::string::npos) << "the message repeats the token";
  }
}

TEST(InviteToken, TextIsThatOfTheProtocol) {
  const auto parts = parts_of(sample().encode());
  ASSERT_EQ(parts.size(), 7u);
  EXPECT_EQ(parts[0], "cvt_inv_1");
  EXPECT_EQ(from_base64url(parts[kUrls]),
            to_bytes(as_bytes("https://hub.example.eu:8443 https://192.0.2.7")));
  EXPECT_EQ(from_base64url(parts[kHubKey]), to_bytes(sample().hub_key.bytes()));
  EXPECT_EQ(from_base64url(parts[kInviteId]), Bytes(16, 0x11));
  EXPECT_EQ(from_base64url(parts[kSecret]), Bytes(32, 0x22));
  EXPECT_EQ(from_base64url(parts[kSeed]), Bytes(32, 0x07));
  EXPECT_EQ(sample().encode(),
            "cvt_inv_1."
            "aHR0cHM6Ly9odWIuZXhhbXBsZS5ldTo4NDQzIGh0dHBzOi8vMTkyLjAuMi43."
            "GX9rI-FshTLGq8g4-s1ep4m-DHaykgM0A5v6iz02jWE."
            "EREREREREREREREREREREQ."
            "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI."
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc."
            "DDH1kw");
}

TEST(InviteToken, SurvivesItsText) {
  for (const char* around : {"", " ", "\n", "\r\n\t "}) {
    auto token = parse_invite_token(around + sample().encode() + around);
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(token->hub_urls, sample().hub_urls);
    EXPECT_EQ(token->hub_key, sample().hub_key);
    EXPECT_EQ(token->invite_id, sample().invite_id);
    EXPECT_TRUE(token->invite_secret == sample().invite_secret);
    EXPECT_EQ(token->tenant_key.public_key(), sample().tenant_key.public_key());
    EXPECT_EQ(token->encode(), sample().encode());
  }
}

TEST(InviteToken, DescribeKeepsItsSecrets) {
  const std::string text = sample().describe();
  EXPECT_NE(text.find("https://hub.example.eu:8443"), std::string::npos);
  EXPECT_NE(text.find("https://192.0.2.7"), std::string::npos);
  EXPECT_NE(text.find(sample().hub_key.short_text()), std::string::npos);
  EXPECT_NE(text.find(to_base64url(sample().invite_id)), std::string::npos) << "as `invite list` shows it";
  const Bytes secret(32, 0x22), seed(32, 0x07);
  for (const Bytes& hidden : {secret, seed}) {
    EXPECT_EQ(text.find(to_hex(hidden)), std::string::npos);
    EXPECT_EQ(text.find(to_base64url(hidden)), std::string::npos);
  }
}

TEST(InviteToken, OneChangedCharacterIsAlwaysNoticed) {
  const std::string good = sample().encode();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(parse_invite_token(bad)) << i;
    std::string shorter = good;
    shorter.erase(i, 1);
    EXPECT_FALSE(parse_invite_token(shorter)) << i;
  }
}

TEST(InviteToken, EveryCutIsNoticedAndNamed) {
  const std::string good = sample().encode();
  for (size_t size = 0; size < good.size(); ++size) {
    auto token = parse_invite_token(std::string_view(good).substr(0, size));
    ASSERT_FALSE(token) << size;
    EXPECT_NE(token.error().message.find("copy the whole token again"), std::string::npos)
        << token.error().message;
  }
}

TEST(InviteToken, WhatEditorsAndShellsAddIsNamed) {
  const std::string good = sample().encode();
  expect_invalid("\xef\xbb\xbf" + good, "byte order mark", "without one");
  for (const char* quote : {"\"", "'", "`", "\xe2\x80\x9c", "\xc2\xab"})
    expect_invalid(quote + good + quote, "quotation mark", "remove the quotes");
  for (bool with_mark : {true, false}) {
    std::string utf16 = with_mark ? "\xff\xfe" : "";
    for (char c : good) utf16 += {c, '\0'};
    expect_invalid(utf16, "UTF-16", "UTF-8");
  }
}

TEST(InviteToken, PrefixAndVersion) {
  const std::string rest = sample().encode().substr(9);
  expect_invalid("", "it is empty", "copy the whole token again");
  expect_invalid("  \n", "it is empty", "copy the whole token again");
  expect_invalid("hello", "does not start with cvt_inv_1", "copy the whole token again");
  expect_invalid("vt_inv_1" + rest, "does not start with cvt_inv_1", "copy the whole token again");
  expect_invalid("CVT_INV_1" + rest, "does not start with cvt_inv_1", "copy the whole token again");
  expect_invalid("tt_inv_2_abc", "does not start with cvt_inv_1", "copy the whole token again");
  expect_invalid("cvt_inv_2" + rest, "version 2 (prefix cvt_inv_2), this program reads version 1",
                 "ask for a new invite");
  expect_invalid("cvt_inv_0" + rest, "version 0", "ask for a new invite");
  expect_invalid("cvt_inv_2", "version 2", "ask for a new invite");
  expect_invalid("cvt_inv_01" + rest, "begins with 0", "copy the whole token again");
  expect_invalid("cvt_inv_01", "begins with 0", "copy the whole token again");
  expect_invalid("cvt_inv_1", "nothing follows", "copy the whole token again");
  expect_invalid("cvt_inv_" + rest, "not a number", "copy the whole token again");
  expect_invalid("cvt_inv_1x" + rest, "not a number", "copy the whole token again");
  expect_invalid("cvt_inv_99999999999999999999" + rest, "not a number", "copy the whole token again");
}

TEST(InviteToken, WrappedLines) {
  std::string wrapped = sample().encode();
  wrapped.insert(80, "\n");
  expect_invalid(wrapped, "white space inside", "as one line");
  expect_invalid(sample().encode() + " " + sample().encode(), "white space inside", "as one line");
}

TEST(InviteToken, NamesTheDamagedPart) {
  const std::pair<size_t, const char*> names[] = {{kUrls, "hub URLs"},      {kHubKey, "hub key"},
                                                  {kInviteId, "invite id"}, {kSecret, "invite secret"},
                                                  {kSeed, "tenant key"},    {kChecksum, "checksum"}};
  const auto parts = parts_of(sample().encode());
  for (auto [part, name] : names) {
    const std::string place = fmt::format("its {} (part {} of 6)", name, part);
    expect_invalid(damaged(part, ""), place + " is empty", "copy the whole token again");
    expect_invalid(damaged(part, "+" + parts[part].substr(1)), place + " is damaged: character 1",
                   "copy the whole");
    expect_invalid(damaged(part, parts[part] + "="), place + " is damaged", "copy the whole token again");
    if (part == kUrls) continue;
    const size_t size = from_base64url(parts[part])->size();
    expect_invalid(damaged(part, to_base64url(Bytes(size - 1, 1))),
                   fmt::format("{} has {} bytes instead of {}", place, size - 1, size),
                   "copy the whole token again");
    expect_invalid(damaged(part, to_base64url(Bytes(size + 1, 1))),
                   fmt::format("{} has {} bytes instead of {}", place, size + 1, size),
                   "copy the whole token again");
  }
}

TEST(InviteToken, NamesTheMissingPart) {
  auto parts = parts_of(sample().encode());
  const char* names[] = {"", "hub URLs", "hub key", "invite id", "invite secret", "tenant key", "checksum"};
  for (size_t count = 6; count >= 2; --count) {
    parts.resize(count);
    expect_invalid(join(parts),
                   fmt::format("ends after part {} of 6, its {} is missing", count - 1, names[count]),
                   "copy the whole token again");
  }
  expect_invalid(sample().encode() + ".AAAA", "more than its 6 parts", "copy the whole token again");
}

TEST(InviteToken, ChecksumCoversEveryPart) {
  expect_invalid(damaged(kChecksum, "AAAAAA"), "checksum does not fit", "copy the whole token again");
  expect_invalid(damaged(kSecret, to_base64url(Bytes(32, 0x23))), "checksum does not fit",
                 "copy the whole token again");
  expect_invalid(damaged(kUrls, to_base64url(as_bytes("https://evil.example"))), "checksum does not fit",
                 "copy the whole");
}

TEST(InviteToken, AWholeTokenWithWrongContentNeedsANewInvite) {
  expect_invalid(remade(kUrls, as_bytes("http://hub.example.eu")), "hub URL 1", "ask for a new invite");
  expect_invalid(remade(kUrls, as_bytes("https://hub.example.eu  https://b.example")), "hub URL 2",
                 "ask for a new invite");
  expect_invalid(remade(kUrls, as_bytes("https://hub.example.eu ")), "hub URL 2", "ask for a new invite");
  expect_invalid(remade(kUrls, as_bytes("https://hub.example.eu\nhttps://b.example")), "hub URL 1",
                 "ask for a new invite");
  Bytes no_point(32, 0);
  no_point[0] = 2;
  expect_invalid(remade(kHubKey, no_point), "hub key is wrong", "ask for a new invite");
  std::string many = "https://a.example";
  for (int i = 0; i < 15; ++i) many += " https://a.example";
  EXPECT_TRUE(parse_invite_token(remade(kUrls, as_bytes(many))));
  expect_invalid(remade(kUrls, as_bytes(many + " https://a.example")), "more than 16 hub URLs",
                 "ask for a new invite");
}

TEST(InviteToken, RefusesAHubKeyOfSmallOrder) {
  for (const char* key : kSmallOrderKeys) {
    expect_invalid(remade(kHubKey, *from_hex(key)), "its hub key is wrong", "ask for a new invite");
  }
}

TEST(InviteToken, LengthIsCapped) {
  expect_invalid("cvt_inv_1." + std::string(9000, 'A'), "longer than 8192 bytes",
                 "copy the whole token again");
}

TEST(HubUrl, Parses) {
  struct Case {
    const char *text, *host;
    uint16_t port;
    const char* printed;
  };
  const Case cases[] = {
      {"https://hub.example.eu", "hub.example.eu", 443, "https://hub.example.eu"},
      {"HTTPS://Hub.Example.EU:8443/", "hub.example.eu", 8443, "https://hub.example.eu:8443"},
      {"https://hub.example.eu:443", "hub.example.eu", 443, "https://hub.example.eu"},
      {"https://localhost:1", "localhost", 1, "https://localhost:1"},
      {"https://192.0.2.7:65535", "192.0.2.7", 65535, "https://192.0.2.7:65535"},
      {"https://[2001:DB8::1]", "2001:db8::1", 443, "https://[2001:db8::1]"},
      {"https://[::1]:8443", "::1", 8443, "https://[::1]:8443"},
      {"https://my_hub:8443", "my_hub", 8443, "https://my_hub:8443"},
  };
  for (const Case& c : cases) {
    auto url = parse_hub_url(c.text);
    ASSERT_TRUE(url) << url.error().message;
    EXPECT_EQ(url->host, c.host);
    EXPECT_EQ(url->port, c.port);
    EXPECT_EQ(url->to_string(), c.printed);
    EXPECT_EQ(parse_hub_url(url->to_string())->host, c.host);
  }
}

TEST(HubUrl, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "is not https"},
      {"hub.example.eu", "is not https"},
      {"http://hub.example.eu", "is not https"},
      {"https:/hub.example.eu", "is not https"},
      {"https://", "has no host"},
      {"https:///", "has no host"},
      {"https://:443", "has no host"},
      {"https://hub.example.eu/v1", "has a path"},
      {"https://hub.example.eu//", "has a path"},
      {"https://hub.example.eu?x", "has a query"},
      {"https://hub.example.eu#x", "has a fragment"},
      {"https://me@hub.example.eu", "has a user name"},
      {"https://me:pw@hub.example.eu", "has a user name"},
      {"https://hub.example.eu:", "wrong port"},
      {"https://hub.example.eu:0", "wrong port"},
      {"https://hub.example.eu:65536", "wrong port"},
      {"https://hub.example.eu:+1", "wrong port"},
      {"https://hub.example.eu:1x", "wrong port"},
      {"https://2001:db8::1", "wrong port"},
      {"https://[::1", "no bracket"},
      {"https://[::1]x", "wrong IPv6 address"},
      {"https://[hub]", "wrong IPv6 address"},
      {"https://[1.2.3.4]", "wrong IPv6 address"},
      {"https://[]", "wrong IPv6 address"},
      {"https://0.0.0.0:443", "is the unspecified address"},
      {"https://[::]:443", "is the unspecified address"},
      {"https://[::ffff:0.0.0.0]", "is the unspecified address"},
      {"https://0", "wrong host"},
      {"https://127.1", "wrong host"},
      {"https://1.2.3.256", "wrong host"},
      {"https://hub..eu", "wrong host"},
      {"https://.eu", "wrong host"},
      {"https://hub.example.eu.", "wrong host"},
      {"https://hub example.eu", "wrong host"},
      {"https://hub.example.eu\n", "wrong host"},
      {"https://b\xc3\xbc"
       "cher.example",
       "wrong host"},
  };
  for (auto [text, why] : cases) {
    auto url = parse_hub_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalid);
    EXPECT_NE(url.error().message.find(why), std::string::npos)
        << url.error().message << "\nexpected " << why;
    EXPECT_NE(url.error().message.find("https://hub.example.eu:8443"), std::string::npos);
  }
}

EdgeToken sample_edge() {
  return {{"https://hub.example.eu", "https://192.0.2.7:8443"},
          SecretKey::from_seed(Bytes(32, 1))->public_key(),
          *SecretKey::from_seed(Bytes(32, 4))};
}

TEST(EdgeToken, RoundTrips) {
  const EdgeToken token = sample_edge();
  auto read = parse_edge_token(" " + token.encode() + "\n");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->hub_urls, token.hub_urls);
  EXPECT_EQ(read->hub_key, token.hub_key);
  EXPECT_EQ(read->edge_key.public_key(), token.edge_key.public_key());
}

TEST(EdgeToken, KindsAreNotReadAsEachOther) {
  auto as_invite = parse_invite_token(sample_edge().encode());
  ASSERT_FALSE(as_invite.has_value());
  EXPECT_NE(as_invite.error().message.find("it is an edge token"), std::string::npos)
      << as_invite.error().message;
  auto as_edge = parse_edge_token(sample().encode());
  ASSERT_FALSE(as_edge.has_value());
  EXPECT_NE(as_edge.error().message.find("it is an invite token"), std::string::npos)
      << as_edge.error().message;
}

TEST(EdgeToken, EveryChangedCharacterIsFound) {
  const std::string text = sample_edge().encode();
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(parse_edge_token(changed).has_value()) << i;
    EXPECT_FALSE(parse_edge_token(text.substr(0, i)).has_value()) << i;
  }
}

TEST(EdgeToken, SaysNothingSecret) {
  const EdgeToken token = sample_edge();
  const std::string seed = to_base64url(token.edge_key.expose_seed());
  EXPECT_EQ(token.describe().find(seed), std::string::npos);
  auto damaged = parse_edge_token(token.encode().substr(0, token.encode().size() - 3));
  ASSERT_FALSE(damaged.has_value());
  EXPECT_EQ(damaged.error().message.find(seed), std::string::npos);
}

}  // namespace
}  // namespace culvert::hubapi
