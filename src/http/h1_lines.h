#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "http/headers.h"

// The lines of HTTP/1.1 (RFC 9112), one at a time and without their line ends. What is refused is refused
// with the reason alone, as the rest of a sentence.
namespace culvert::http {

enum class H1Rules {
  // For an end of the conversation: what two readers could understand differently is refused (RFC 9112, 6.3
  // and 11.2).
  kStrict,
  // For a reader that only watches what two others say to each other: it accepts what they may accept, line
  // feeds without carriage returns and heads of any size among it, and keeps of a head only the start line.
  kObserver,
};

template <class T>
using Parsed = std::expected<T, const char*>;

struct RequestLine {
  std::string_view method;
  std::string_view target;
  int minor_version;  // of HTTP/1
};
Parsed<RequestLine> parse_request_line(std::string_view line, H1Rules rules);

struct StatusLine {
  int minor_version;
  int status;  // 100 to 999
};
Parsed<StatusLine> parse_status_line(std::string_view line);

struct FieldLine {
  std::string_view name;
  std::string_view value;  // without white space around it
};
Parsed<FieldLine> parse_field_line(std::string_view line);

// The size of a chunk; extensions are skipped.
Parsed<uint64_t> parse_chunk_line(std::string_view line, H1Rules rules);

// Whether a target has the form that its method asks for (RFC 9112, 3.2), and whether it and the Host fields
// name one authority.
Parsed<void> check_authority(std::string_view method, std::string_view target, int minor_version,
                             const Headers& headers);

// Whether a field may stand behind a body (RFC 9110, 6.5.1): not one that says how a message is framed,
// routed, authenticated or understood.
bool may_be_trailer(std::string_view name);

// What the fields of one head say about the body behind it (RFC 9112, 6).
class BodyFields {
 public:
  // `cut`: the value's end was not kept.
  Parsed<void> add(const FieldLine& field, bool cut, H1Rules rules);
  // Whether the whole makes sense in a message of that version.
  Parsed<void> check(int minor_version) const;

  const std::optional<uint64_t>& content_length() const { return length_; }
  bool has_transfer_encoding() const { return codings_ > 0; }
  bool is_chunked() const { return chunked_; }  // the last transfer coding is chunked

 private:
  std::optional<uint64_t> length_;
  unsigned codings_ = 0;
  bool chunked_ = false;
};

}  // namespace culvert::http
