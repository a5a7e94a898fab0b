#pragma once
#include <string_view>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "dns/message.h"

// Messages signed with a shared key: TSIG (RFC 8945). No I/O and no clock.
namespace culvert::dns {

struct TsigKey {
  Name name;
  HashFunction function = HashFunction::kSha256;
  SecretBuffer secret = {};
};

// Of a name, "hmac-sha256" (-sha384, -sha512) and a secret in base64. kInvalid says what is wrong, without
// the secret.
Result<TsigKey> make_tsig_key(std::string_view name, std::string_view algorithm, std::string_view secret);
// Of a file as `tsig-keygen` of BIND writes it: key "name" { algorithm hmac-sha256; secret "..."; };
Result<TsigKey> parse_tsig_key_file(std::string_view text);
// "hmac-sha256".
std::string_view algorithm_of(HashFunction function);

// How much the clocks of both sides may differ (RFC 8945, 10 recommends this).
inline constexpr std::chrono::seconds kTsigFudge{300};

struct SignedMessage {
  Bytes bytes;
  Bytes mac;  // the answer's is made with it
};
SignedMessage sign(Message message, const TsigKey& key, UnixTime now);

// The answer to a message of sign(): `message` is what decode() made of `bytes`. kUnauthorized: it is not
// signed, or not with this key, or it refuses the signature of the query; the message says what to do.
Result<> verify_answer(ByteView bytes, const Message& message, const TsigKey& key, ByteView query_mac,
                       UnixTime now);

}  // namespace culvert::dns
