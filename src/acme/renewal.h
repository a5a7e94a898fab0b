#pragma once
#include <cstdint>
#include <optional>

#include "acme/documents.h"
#include "base/clock.h"
#include "base/random.h"

// When a certificate is renewed, and when what failed is tried again. Pure functions of dates.
namespace culvert::acme {

// How long a certificate is valid.
struct Validity {
  UnixTime not_before, not_after;
  std::chrono::seconds lifetime() const { return not_after - not_before; }
  bool operator==(const Validity&) const = default;
};

// Of those that live up to 10 days half of the life is left when they are renewed, of others a third: days,
// not hours, to notice that renewal fails.
inline constexpr auto kShortLife = std::chrono::days(10);

// Without word from the CA. Up to a tenth of what is left earlier, at random: certificates that were issued
// together are not renewed together.
UnixTime renewal_by_lifetime(const Validity& validity, Random& random);

// At a random moment of the CA's window (RFC 9773, 4.2). Never later than with a tenth of the life left,
// whatever the CA says, and not within the first 6 hours of a certificate, or a twentieth of its life: a CA
// whose windows are always in the past must not make us order without end.
UnixTime renewal_in_window(const RenewalWindow& window, const Validity& validity, Random& random);

// After so many failures in a row, at least one: 1, 3, 9, 27 minutes and so on up to 24 hours, and up to a
// tenth longer at random. By threes, since Let's Encrypt takes 5 failed authorizations of a name in an hour:
// the first five attempts are within 40 minutes, the sixth is after two hours.
inline constexpr auto kFirstRetry = std::chrono::minutes(1);
inline constexpr auto kLongestRetry = std::chrono::hours(24);
std::chrono::seconds retry_wait(uint32_t failures, Random& random);

// When to ask for the window again: when the CA says, within a minute and a day; 6 hours when it did not say.
std::chrono::seconds window_wait(std::optional<Duration> retry_after, Random& random);

}  // namespace culvert::acme
