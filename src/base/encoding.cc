#include "base/encoding.h"

#include <array>
#include <optional>

namespace culvert {
namespace {

constexpr int8_t kOutside = -1;

// A power-of-two alphabet: every character carries kBits bits, most significant first.
template <int kBits>
struct Alphabet {
  std::array<char, 1 << kBits> symbols{};
  std::array<int8_t, 256> values{};

  constexpr explicit Alphabet(const char (&text)[(1 << kBits) + 1], bool either_case = false) {
    values.fill(kOutside);
    for (size_t i = 0; i < symbols.size(); ++i) {
      symbols[i] = text[i];
      values[static_cast<uint8_t>(text[i])] = static_cast<int8_t>(i);
      if (either_case && text[i] >= 'a' && text[i] <= 'z') {
        values[static_cast<uint8_t>(text[i] - 'a' + 'A')] = static_cast<int8_t>(i);
      }
    }
  }

  std::string encode(ByteView bytes) const {
    std::string out;
    out.reserve((bytes.size() * 8 + kBits - 1) / kBits);
    uint32_t window = 0;
    int held = 0;
    for (uint8_t byte : bytes) {
      window = window << 8 | byte;
      for (held += 8; held >= kBits; held -= kBits) out += symbol(window >> (held - kBits));
    }
    if (held > 0) out += symbol(window << (kBits - held));
    return out;
  }

  Result<Bytes> decode(std::string_view text, const char* name) const {
    Bytes out;
    out.reserve(text.size() * kBits / 8);
    uint32_t window = 0;
    int held = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      int8_t value = values[static_cast<uint8_t>(text[i])];
      if (value == kOutside) {
        return fail(ErrorCode::kInvalid, "character {} of {} does not belong to {}", i + 1, text.size(),
                    name);
      }
      window = window << kBits | static_cast<uint32_t>(value);
      held += kBits;
      if (held >= 8) {
        held -= 8;
        out.push_back(static_cast<uint8_t>(window >> held));
      }
    }
    // A whole character left over carries no byte: no encoder makes such a length.
    if (held >= kBits)
      return fail(ErrorCode::kInvalid, "{} characters are no length of {}", text.size(), name);
    if ((window & ((1u << held) - 1)) != 0) {
      return fail(ErrorCode::kInvalid, "the last character of {} has bits that belong to no byte", name);
    }
    return out;
  }

 private:
  char symbol(uint32_t value) const { return symbols[value & ((1u << kBits) - 1)]; }
};

constexpr Alphabet<4> kHex("0123456789abcdef");
constexpr Alphabet<5> kBase32("abcdefghijklmnopqrstuvwxyz234567", true);
constexpr Alphabet<5> kBase32Hex("0123456789abcdefghijklmnopqrstuv");
constexpr Alphabet<5> kZBase32("ybndrfg8ejkmcpqxot1uwisza345h769");
constexpr Alphabet<6> kBase64Url("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
constexpr Alphabet<6> kBase64("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

}  // namespace

std::string to_hex(ByteView bytes) { return kHex.encode(bytes); }
Result<Bytes> from_hex(std::string_view text) { return kHex.decode(text, "lower-case hex"); }

std::string to_base32(ByteView bytes) { return kBase32.encode(bytes); }
Result<Bytes> from_base32(std::string_view text) { return kBase32.decode(text, "base32"); }

std::string to_base32hex(ByteView bytes) { return kBase32Hex.encode(bytes); }

std::string to_zbase32(ByteView bytes) { return kZBase32.encode(bytes); }
Result<Bytes> from_zbase32(std::string_view text) { return kZBase32.decode(text, "z-base-32"); }

std::string to_base64url(ByteView bytes) { return kBase64Url.encode(bytes); }
Result<Bytes> from_base64url(std::string_view text) { return kBase64Url.decode(text, "base64url"); }

std::string to_base64(ByteView bytes) {
  std::string out = kBase64.encode(bytes);
  out.resize((out.size() + 3) / 4 * 4, '=');
  return out;
}

Result<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return fail(ErrorCode::kInvalid, "{} characters are no length of padded base64", text.size());
  }
  // At most two: a third would be a group that carries no byte, and is refused as a foreign character.
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return kBase64.decode(text, "base64");
}

std::string to_percent(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool is_unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                               std::string_view("-._~").contains(c);
    if (is_unreserved) {
      out += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  return out;
}

Result<std::string> from_percent(std::string_view text) {
  const auto digit = [&](size_t at) -> std::optional<int> {
    const char c = at < text.size() ? text[at] : '\0';
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto high = digit(i + 1), low = digit(i + 2);
    if (!high || !low)
      return fail(ErrorCode::kInvalid,
                  "a % is not followed by two hexadecimal digits; write % itself as %25");
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

}  // namespace culvert
