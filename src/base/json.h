#pragma once
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/key.h"
#include "base/result.h"
#include "base/secret.h"

// How JSON of others is read. For .cc files: headers speak in their own types.
namespace culvert {

// kInvalid names `what` with line and byte of the fault, or the member that one object has twice: with two,
// each reader could take another one. At most 16 levels deep.
Result<boost::json::value> parse_json(std::string_view what, std::string_view text);
// The same; kInvalid as well when it is not an object.
Result<boost::json::object> parse_json_object(std::string_view what, std::string_view text);

// kInvalid names a member that is not one of `known`, and those.
Result<> refuse_unknown_members(std::string_view what, const boost::json::object& object,
                                std::span<const std::string_view> known);
inline Result<> refuse_unknown_members(std::string_view what, const boost::json::object& object,
                                       std::initializer_list<std::string_view> known) {
  return refuse_unknown_members(what, object, std::span(known.begin(), known.size()));
}

boost::json::array json_array(const std::vector<std::string>& texts);

// The last second that a clock in nanoseconds can hold: times of others are not beyond it.
inline constexpr int64_t kMaxUnixSeconds = 9'000'000'000;

// Reads the members of one object, which outlives it. A member that is missing or of the wrong type gives an
// empty value and sets error(); the first error stays.
class JsonReader {
 public:
  JsonReader(std::string_view what, const boost::json::object& object) : what_(what), object_(object) {}

  std::string_view text(std::string_view name);
  // Empty when absent.
  std::string_view optional_text(std::string_view name);
  int64_t integer(std::string_view name, int64_t lowest, int64_t highest);
  UnixTime time(std::string_view name);  // in seconds since 1970, up to kMaxUnixSeconds
  bool boolean(std::string_view name);
  const boost::json::array& array(std::string_view name);
  std::vector<std::string> texts(std::string_view name);
  std::optional<PublicKey> key(std::string_view name);
  // Unpadded base64url of exactly kSize bytes.
  template <size_t kSize>
  std::array<uint8_t, kSize> bytes(std::string_view name) {
    std::array<uint8_t, kSize> out{};
    const auto decoded = from_base64url(text(name));
    if (error_) return out;
    if (!decoded || decoded->size() != kSize) {
      set_size_error(name, kSize);
    } else {
      std::ranges::copy(*decoded, out.begin());
    }
    return out;
  }
  // The same for a secret: no copy stays behind but that in the object.
  template <size_t kSize>
  SecretBytes<kSize> secret(std::string_view name) {
    auto decoded = from_base64url(text(name));
    if (error_) return {};
    if (!decoded) {
      set_size_error(name, kSize);
      return {};
    }
    WipeAtEnd wiper(*decoded);
    if (decoded->size() != kSize) {
      set_size_error(name, kSize);
      return {};
    }
    return SecretBytes<kSize>::from(*decoded);
  }
  bool has(std::string_view name) const { return object_.contains(name); }

  // `why` is the predicate of a sentence: "is not a string".
  void set_error(std::string_view name, std::string_view why);
  const std::optional<Error>& error() const { return error_; }

 private:
  const boost::json::value* find(std::string_view name);
  void set_size_error(std::string_view name, size_t size);

  std::string_view what_;
  const boost::json::object& object_;
  std::optional<Error> error_;
};

}  // namespace culvert
