#pragma once
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

// Text forms of bytes. Decoders are strict: a character outside the alphabet, a wrong length or non-zero
// trailing bits is kInvalid, and the message never repeats the input (it may be a secret).
namespace culvert {

std::string to_hex(ByteView bytes);             // lower case
Result<Bytes> from_hex(std::string_view text);  // lower case only

// RFC 4648 section 6 without padding; encodes lower case, decodes either case.
std::string to_base32(ByteView bytes);
Result<Bytes> from_base32(std::string_view text);

// RFC 4648 section 7 (extended hex), lower case, without padding.
std::string to_base32hex(ByteView bytes);

// z-base-32 as in pkarr: lower case, without padding, most significant bit first.
std::string to_zbase32(ByteView bytes);
Result<Bytes> from_zbase32(std::string_view text);

// RFC 4648 section 5 without padding.
std::string to_base64url(ByteView bytes);
Result<Bytes> from_base64url(std::string_view text);

// RFC 4648 section 4 with padding: what RFC 8941 byte sequences carry.
std::string to_base64(ByteView bytes);
Result<Bytes> from_base64(std::string_view text);

// RFC 3986, 2.1: %XX for each byte that is not "unreserved" (2.3), so that a text can be one value of a query
// or one segment of a path. Decodes both cases of the digits; '+' stands for itself. kInvalid: a '%' without
// two hexadecimal digits behind it.
std::string to_percent(std::string_view text);
Result<std::string> from_percent(std::string_view text);

}  // namespace culvert
