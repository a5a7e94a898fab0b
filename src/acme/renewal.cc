#include "acme/renewal.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;

constexpr seconds kUsualWindowWait = 6h;
constexpr seconds kShortestWindowWait = 1min;
constexpr seconds kLongestWindowWait = 24h;

seconds up_to(seconds most, Random& random) {
  if (most <= 0s) return 0s;
  return seconds(random.below(static_cast<uint64_t>(most.count()) + 1));
}

}  // namespace

UnixTime renewal_by_lifetime(const Validity& validity, Random& random) {
  const seconds left = validity.lifetime() / (validity.lifetime() <= kShortLife ? 2 : 3);
  return validity.not_after - left - up_to(left / 10, random);
}

UnixTime renewal_in_window(const RenewalWindow& window, const Validity& validity, Random& random) {
  const UnixTime chosen = window.start + up_to(window.end - window.start, random);
  const UnixTime earliest = validity.not_before + std::min(seconds(6h), validity.lifetime() / 20);
  const UnixTime latest = validity.not_after - validity.lifetime() / 10;
  return std::clamp(chosen, earliest, latest);
}

seconds retry_wait(uint32_t failures, Random& random) {
  CHECK(failures > 0);
  seconds wait = kFirstRetry;
  for (uint32_t i = 1; i < failures && wait < kLongestRetry; ++i) wait *= 3;
  wait = std::min<seconds>(wait, kLongestRetry);
  return std::min<seconds>(wait + up_to(wait / 10, random), kLongestRetry);
}

seconds window_wait(std::optional<Duration> retry_after, Random& random) {
  const seconds asked = retry_after ? std::chrono::duration_cast<seconds>(*retry_after) : kUsualWindowWait;
  const seconds wait = std::clamp(asked, kShortestWindowWait, kLongestWindowWait);
  return wait + up_to(wait / 10, random);
}

}  // namespace culvert::acme
