#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace culvert::dns {

// A domain name (RFC 1035, 3.1). It keeps the case of its letters, and compares without it.
class Name {
 public:
  static constexpr size_t kMaxSize = 255;      // on the wire, with the root's label (RFC 1035, 2.3.4)
  static constexpr size_t kMaxLabelSize = 63;  // the same section

  Name() = default;  // the root
  // "www.example.net", with or without a final dot; "\." and "\065" as in zone files (RFC 1035, 5.1). "."
  // is the root. kInvalid says what is wrong.
  static Result<Name> parse(std::string_view text);
  // Reads the name at `offset` of a message and moves `offset` behind it. Each pointer has to lead to a place
  // before the labels in front of it (RFC 1035, 4.1.4: "a prior occurrence"), so no name is a loop, and a
  // name has no more pointers than labels can be. nullopt: malformed.
  static std::optional<Name> decode(ByteView message, size_t& offset);

  // Labels with their lengths, without compression.
  const std::string& wire() const { return wire_; }
  // Without a final dot; the root is ".".
  std::string to_string() const;
  bool is_root() const { return wire_.size() == 1; }
  size_t label_count() const;  // without the root's
  // The last `labels` labels.
  Name suffix(size_t labels) const;
  Name parent() const;  // not of the root
  // It is `ancestor` or below it.
  bool is_within(const Name& ancestor) const;
  // "*." before it (RFC 4592, 2.1.1); nullopt: that would be too long.
  std::optional<Name> wildcard() const;
  Name to_lower() const;

  bool operator==(const Name& other) const;
  // RFC 4034, 6.1: a name comes before all names below it, and these before any other.
  std::weak_ordering operator<=>(const Name& other) const;

 private:
  explicit Name(std::string wire) : wire_(std::move(wire)) {}

  std::string wire_ = std::string(1, '\0');
};

}  // namespace culvert::dns
