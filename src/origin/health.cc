#include "origin/health.h"

#include <utility>

namespace culvert::origin {

bool HealthJudge::saw(std::optional<OriginFault> fault, Source source) {
  const bool is_first = source == Source::kCheck && !std::exchange(was_checked_, true);
  const bool works = !fault.has_value();
  if (source == Source::kCheck) last_check_failed_ = !works;
  if (works && !is_healthy_ && last_check_failed_) return false;
  if (fault) fault_ = std::move(fault);
  if (works == is_healthy_) {
    in_a_row_ = 0;
    if (works) fault_.reset();
    return false;
  }
  ++in_a_row_;
  if (!is_first && in_a_row_ < (is_healthy_ ? fall_ : rise_)) return false;
  is_healthy_ = works;
  in_a_row_ = 0;
  if (works) fault_.reset();
  return true;
}

}  // namespace culvert::origin
