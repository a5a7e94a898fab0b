#include "base/values.h"

#include <algorithm>

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert {
namespace {

struct Unit {
  std::string_view name;
  Duration length;
};
// Ascending; each but the first is a multiple of the one before.
constexpr Unit kUnits[] = {{"ms", std::chrono::milliseconds(1)},
                           {"s", std::chrono::seconds(1)},
                           {"m", std::chrono::minutes(1)},
                           {"h", std::chrono::hours(1)},
                           {"d", std::chrono::days(1)}};

struct ByteUnit {
  std::string_view name;
  uint64_t bytes;
};
constexpr ByteUnit kByteUnits[] = {{"", 1},          {"k", 1000},      {"M", 1'000'000}, {"G", 1'000'000'000},
                                   {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

}  // namespace

Result<Duration> parse_duration(std::string_view text, std::chrono::days most) {
  size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto count = whole_number<uint64_t>(text.substr(0, digits));
  auto unit = std::ranges::find(kUnits, text.substr(digits), &Unit::name);
  if (!count || unit == std::end(kUnits)) {
    return fail(ErrorCode::kInvalid,
                "invalid duration {} (expected a whole number and a unit: 500ms, 10s, 5m, 48h or 30d)",
                quoted(text));
  }
  if (*count > static_cast<uint64_t>(Duration(most) / unit->length)) {
    return fail(ErrorCode::kLimit, "duration {} is too long (expected at most {}d)", quoted(text),
                most.count());
  }
  return unit->length * static_cast<int64_t>(*count);
}

std::string format_duration(Duration duration) {
  const Unit* unit = kUnits;
  for (const Unit& larger : kUnits) {
    if (duration != Duration::zero() && duration % larger.length == Duration::zero()) unit = &larger;
  }
  if (duration == Duration::zero()) unit = &kUnits[1];
  return fmt::format("{}{}", duration / unit->length, unit->name);
}

Result<uint64_t> parse_byte_count(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = whole_number<uint64_t>(text.substr(0, digits));
  const auto* unit = std::ranges::find(kByteUnits, text.substr(digits), &ByteUnit::name);
  if (!count || unit == std::end(kByteUnits) || *count > INT64_MAX / unit->bytes) {
    return fail(
        ErrorCode::kInvalid,
        "invalid number of bytes {} (expected a whole number, and k, M, G, KiB, MiB or GiB if it has a unit: "
        "65536, 250M or 2GiB)",
        quoted(text));
  }
  return *count * unit->bytes;
}

Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most) {
  auto value = whole_number<uint64_t>(text);
  if (!value || *value < least || *value > most) {
    return fail(ErrorCode::kInvalid, "invalid number {} (expected a whole number from {} to {})",
                quoted(text), least, most);
  }
  return *value;
}

Result<bool> parse_yes_or_no(std::string_view text) {
  if (text == "yes" || text == "true" || text == "1") return true;
  if (text == "no" || text == "false" || text == "0") return false;
  return fail(ErrorCode::kInvalid, "invalid answer {} (expected yes or no, true or false, 1 or 0)",
              quoted(text));
}

Result<SocketAddr> parse_listen_addr(std::string_view text) {
  auto address = SocketAddr::parse(text);
  if (address) return address;
  return fail(ErrorCode::kInvalid, "{}; give an IP address and a port, e.g. 0.0.0.0:443 or [::]:443",
              address.error().message);
}

}  // namespace culvert
