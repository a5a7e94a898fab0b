#include "hubapi/hub_clock.h"

#include <fmt/format.h>

#include "http/signature.h"

namespace culvert::hubapi {
namespace {

std::string in_words(std::chrono::seconds difference) {
  using std::chrono::days;
  using std::chrono::hours;
  if (difference >= days(2)) return fmt::format("{} days", difference / days(1));
  if (difference >= hours(2)) return fmt::format("{} h", difference / hours(1));
  return fmt::format("{} s", difference.count());
}

}  // namespace

void HubClock::learn(UnixTime hub_time, TimePoint asked, TimePoint answered) {
  // Nothing says when between the two the hub looked at its clock.
  const TimePoint middle = asked + (answered - asked) / 2;
  const auto since = std::chrono::duration_cast<std::chrono::seconds>(answered - middle);
  known_ = Known{hub_time, middle, local_() - since - hub_time};
}

UnixTime HubClock::time_at(TimePoint at) const {
  if (!known_) return local_();
  return known_->hub_time + std::chrono::duration_cast<std::chrono::seconds>(at - known_->at);
}

std::optional<std::string> HubClock::warning() const {
  if (!known_ || std::chrono::abs(known_->local_ahead) <= http::kMaxClockSkew) return std::nullopt;
  const bool is_behind = known_->local_ahead.count() < 0;
  return fmt::format("this machine's clock is {} {} the hub's",
                     in_words(std::chrono::abs(known_->local_ahead)), is_behind ? "behind" : "ahead of");
}

}  // namespace culvert::hubapi
