#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

// The part of structured field values (RFC 8941) that message signatures need: dictionaries whose members are
// byte sequences, or inner lists of strings with parameters. Errors are kInvalid.
namespace culvert::http {

struct ByteSequenceMember {
  std::string key;
  Bytes value;
};
// Members of another type (other digests, say) and parameters of members are refused.
Result<std::vector<ByteSequenceMember>> parse_byte_sequences(std::string_view field);

struct Parameter {
  std::string key;
  enum class Type { kInteger, kString, kOther } type;
  int64_t integer = 0;
  std::string text;  // of a string; unescaped
};

struct InnerListMember {
  std::string key;
  std::vector<std::string> items;
  std::vector<Parameter> parameters;
  std::string canonical;  // the member's value as RFC 8941, 4.1 writes it, which signatures are over
};
Result<std::vector<InnerListMember>> parse_inner_lists(std::string_view field);

// A quoted string; `text` is printable ASCII.
std::string serialize_string(std::string_view text);

}  // namespace culvert::http
