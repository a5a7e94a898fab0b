#include "acme/timestamp.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/json.h"

namespace culvert::acme {
namespace {

using namespace std::chrono;

// Two digits, or four, at `at`; -1: something else is there.
int number(std::string_view text, size_t at, size_t digits) {
  const std::string_view part = text.substr(std::min(at, text.size()), digits);
  if (part.size() != digits || !std::ranges::all_of(part, is_digit)) return -1;
  int out = 0;
  for (const char c : part) out = out * 10 + (c - '0');
  return out;
}

// "Z" or "+01:00".
std::optional<minutes> offset_of(std::string_view zone) {
  if (zone == "Z" || zone == "z") return minutes(0);
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  const int hour = number(zone, 1, 2), minute = number(zone, 4, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return std::nullopt;
  const minutes offset = hours(hour) + minutes(minute);
  return zone[0] == '-' ? -offset : offset;
}

}  // namespace

std::optional<UnixTime> parse_timestamp(std::string_view text) {
  constexpr size_t kToSeconds = std::string_view("2026-01-02T03:04:05").size();
  if (text.size() <= kToSeconds || text[4] != '-' || text[7] != '-' || to_lower(text[10]) != 't' ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const int y = number(text, 0, 4), month_number = number(text, 5, 2), day_number = number(text, 8, 2);
  const int hour = number(text, 11, 2), minute = number(text, 14, 2), second = number(text, 17, 2);
  if (y < 1970 || y > 2255 || month_number < 1 || day_number < 1) return std::nullopt;
  const year_month_day date{year(y), month(static_cast<unsigned>(month_number)),
                            day(static_cast<unsigned>(day_number))};
  // A leap second counts as the second after it.
  if (!date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
    return std::nullopt;
  }
  std::string_view zone = text.substr(kToSeconds);
  if (zone.starts_with('.')) {
    const size_t end = std::min(zone.find_first_not_of("0123456789", 1), zone.size());
    if (end == 1) return std::nullopt;
    zone.remove_prefix(end);
  }
  const auto offset = offset_of(zone);
  if (!offset) return std::nullopt;
  const UnixTime time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second) - *offset;
  if (time.time_since_epoch() < seconds(0) || time.time_since_epoch() > seconds(kMaxUnixSeconds))
    return std::nullopt;
  return time;
}

std::string to_timestamp(UnixTime time) {
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

}  // namespace culvert::acme
