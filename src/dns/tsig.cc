#include "dns/tsig.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/ascii.h"
#include "base/check.h"
#include "base/encoding.h"
#include "base/text.h"

namespace culvert::dns {
namespace {

struct Algorithm {
  HashFunction function;
  std::string_view name;
};

// RFC 8945, 6, without those that it advises against.
constexpr std::array kAlgorithms = {Algorithm{HashFunction::kSha256, "hmac-sha256"},
                                    Algorithm{HashFunction::kSha384, "hmac-sha384"},
                                    Algorithm{HashFunction::kSha512, "hmac-sha512"}};

Name algorithm_name(HashFunction function) { return Name::parse(algorithm_of(function)).value(); }

uint64_t seconds_of(UnixTime time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

// RFC 8945, 4.3.3: what is signed behind the message.
void put_variables(const Tsig& tsig, ByteWriter& out) {
  out.bytes(as_bytes(tsig.key.to_lower().wire()));
  out.u16(static_cast<uint16_t>(Class::kAny));
  out.u32(0);
  out.bytes(as_bytes(tsig.algorithm.to_lower().wire()));
  out.u16(static_cast<uint16_t>(tsig.time_signed >> 32));
  out.u32(static_cast<uint32_t>(tsig.time_signed));
  out.u16(tsig.fudge);
  out.u16(static_cast<uint16_t>(tsig.error));
  out.u16(static_cast<uint16_t>(tsig.other.size()));
  out.bytes(tsig.other);
}

// RFC 8945, 5.3: the message is as it was before TSIG was added to it.
Bytes answer_mac(ByteView bytes, const Tsig& tsig, const TsigKey& key, ByteView query_mac) {
  ByteWriter covered;
  covered.u16(static_cast<uint16_t>(query_mac.size()));
  covered.bytes(query_mac);
  const size_t start = covered.size();
  covered.bytes(bytes.first(find_tsig(bytes).value()));
  covered.patch_u16(start, tsig.original_id);
  constexpr size_t kAdditionalCount = 10;
  const auto additional = static_cast<uint16_t>(bytes[kAdditionalCount] << 8 | bytes[kAdditionalCount + 1]);
  covered.patch_u16(start + kAdditionalCount, static_cast<uint16_t>(additional - 1));
  put_variables(tsig, covered);
  return hmac(key.function, key.secret.expose(), covered.view());
}

// Of BADTIME: the server's clock, as far as it says (RFC 8945, 5.2.3).
std::string clock_difference(const Tsig& tsig, UnixTime now) {
  ByteReader reader(tsig.other);
  const auto upper = reader.u16();
  const auto lower = reader.u32();
  if (!lower) return "the clocks of both machines differ by more than 5 minutes";
  const uint64_t theirs = static_cast<uint64_t>(*upper) << 32 | *lower;
  const uint64_t ours = seconds_of(now);
  return theirs > ours ? fmt::format("this machine's clock is {} s behind the server's", theirs - ours)
                       : fmt::format("this machine's clock is {} s ahead of the server's", ours - theirs);
}

std::unexpected<Error> refused_signature(const Tsig& tsig, const TsigKey& key, UnixTime now) {
  const std::string name = key.name.to_string();
  switch (tsig.error) {
    case Rcode::kBadKey:
      return fail(ErrorCode::kUnauthorized,
                  "it does not know the TSIG key {} with {} (BADKEY); compare name and algorithm with its "
                  "key statement",
                  quoted(name), algorithm_of(key.function));
    case Rcode::kBadSignature:
      return fail(ErrorCode::kUnauthorized,
                  "its secret of the TSIG key {} is another one (BADSIG); copy the secret again",
                  quoted(name));
    case Rcode::kBadTime:
      return fail(ErrorCode::kUnauthorized, "{} (BADTIME); let both follow a time server",
                  clock_difference(tsig, now));
    case Rcode::kBadTruncation:
      return fail(
          ErrorCode::kUnauthorized,
          "it takes no signatures of {} with this length (BADTRUNC); use another algorithm for the key {}",
          algorithm_of(key.function), quoted(name));
    default:
      return fail(ErrorCode::kUnauthorized, "it refuses the signature of the TSIG key {} ({})", quoted(name),
                  to_string(tsig.error));
  }
}

// The words and strings of a file in BIND's form; nullopt: a string or comment without an end.
std::optional<std::vector<std::string>> tokens_of(std::string_view text) {
  std::vector<std::string> tokens;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++at;
    } else if (c == '#' || text.substr(at).starts_with("//")) {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.substr(at).starts_with("/*")) {
      const size_t end = text.find("*/", at + 2);
      if (end == text.npos) return std::nullopt;
      at = end + 2;
    } else if (c == '"') {
      const size_t end = text.find('"', at + 1);
      if (end == text.npos) return std::nullopt;
      tokens.emplace_back(text.substr(at + 1, end - at - 1));
      at = end + 1;
    } else if (c == '{' || c == '}' || c == ';') {
      tokens.emplace_back(1, c);
      ++at;
    } else {
      const size_t end = std::min(text.find_first_of(" \t\r\n{};\"", at), text.size());
      tokens.emplace_back(text.substr(at, end - at));
      at = end;
    }
  }
  return tokens;
}

}  // namespace

std::string_view algorithm_of(HashFunction function) {
  return std::ranges::find(kAlgorithms, function, &Algorithm::function)->name;
}

Result<TsigKey> make_tsig_key(std::string_view name, std::string_view algorithm, std::string_view secret) {
  auto parsed = Name::parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  const auto* known = std::ranges::find_if(
      kAlgorithms, [&](const Algorithm& each) { return equals_lower(algorithm, each.name); });
  if (known == kAlgorithms.end())
    return fail(ErrorCode::kInvalid,
                "the TSIG key {} has the algorithm {} (expected hmac-sha256, hmac-sha384 or hmac-sha512)",
                quoted(name), quoted(algorithm));
  auto bytes = from_base64(secret);
  if (!bytes || bytes->empty())
    return fail(ErrorCode::kInvalid,
                "the secret of the TSIG key {} is not base64; copy it again from the name server",
                quoted(name));
  return TsigKey{std::move(*parsed), known->function, SecretBuffer(std::move(*bytes))};
}

Result<TsigKey> parse_tsig_key_file(std::string_view text) {
  constexpr std::string_view kExample = R"(expected: key "name" { algorithm hmac-sha256; secret "..."; };)";
  auto tokens = tokens_of(text);
  if (!tokens || tokens->size() < 3 || tokens->front() != "key" || (*tokens)[2] != "{")
    return fail(ErrorCode::kInvalid, "the file has no TSIG key ({})", kExample);
  std::string algorithm, secret;
  const WipeAtEnd wipe_secret(secret);
  size_t at = 3;
  for (; at + 2 < tokens->size() && (*tokens)[at] != "}"; at += 3) {
    if ((*tokens)[at + 2] != ";") break;
    if ((*tokens)[at] == "algorithm") algorithm = (*tokens)[at + 1];
    if ((*tokens)[at] == "secret") secret = (*tokens)[at + 1];
  }
  const std::string name = (*tokens)[1];
  const bool ends_well = at < tokens->size() && (*tokens)[at] == "}";
  const bool has_more = ends_well && std::ranges::find(tokens->begin() + static_cast<ptrdiff_t>(at),
                                                       tokens->end(), "key") != tokens->end();
  for (std::string& token : *tokens) wipe_and_clear(token);
  if (!ends_well || algorithm.empty() || secret.empty())
    return fail(ErrorCode::kInvalid, "the TSIG key {} lacks its algorithm, its secret or its end ({})",
                quoted(name), kExample);
  if (has_more)
    return fail(ErrorCode::kInvalid, "the file has several TSIG keys; leave {} or another one", quoted(name));
  return make_tsig_key(name, algorithm, secret);
}

SignedMessage sign(Message message, const TsigKey& key, UnixTime now) {
  message.tsig.reset();
  ByteWriter covered;
  covered.bytes(encode(message));
  Tsig tsig{.key = key.name,
            .algorithm = algorithm_name(key.function),
            .time_signed = seconds_of(now),
            .fudge = static_cast<uint16_t>(kTsigFudge.count()),
            .original_id = message.header.id};
  put_variables(tsig, covered);
  tsig.mac = hmac(key.function, key.secret.expose(), covered.view());
  Bytes mac = tsig.mac;
  message.tsig = std::move(tsig);
  return {encode(message), std::move(mac)};
}

Result<> verify_answer(ByteView bytes, const Message& message, const TsigKey& key, ByteView query_mac,
                       UnixTime now) {
  if (!message.tsig)
    return fail(ErrorCode::kUnauthorized, "its answer ({}) is not signed with the TSIG key {}",
                to_string(message.header.rcode), quoted(key.name.to_string()));
  const Tsig& tsig = *message.tsig;
  // RFC 8945, 5.3.2: a server that does not accept the signature does not sign either.
  if (tsig.error != Rcode::kNoError && tsig.mac.empty()) return refused_signature(tsig, key, now);
  if (tsig.key != key.name || tsig.algorithm != algorithm_name(key.function))
    return fail(ErrorCode::kUnauthorized, "its answer is signed with the TSIG key {}, not with {}",
                quoted(tsig.key.to_string()), quoted(key.name.to_string()));
  if (!equal_constant_time(tsig.mac, answer_mac(bytes, tsig, key, query_mac)))
    return fail(ErrorCode::kUnauthorized, "the signature of its answer is wrong; the answer may be forged");
  if (tsig.error != Rcode::kNoError) return refused_signature(tsig, key, now);
  const uint64_t ours = seconds_of(now);
  const uint64_t difference = std::max(ours, tsig.time_signed) - std::min(ours, tsig.time_signed);
  if (difference > tsig.fudge)
    return fail(
        ErrorCode::kUnauthorized,
        "its answer was signed at a time {} s away from this machine's; let both follow a time server",
        difference);
  return {};
}

}  // namespace culvert::dns
