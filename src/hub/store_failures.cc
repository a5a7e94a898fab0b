#include "hub/store_failures.h"

#include "base/log.h"
#include "hub/answers.h"

namespace culvert::hub {

http::Response StoreFailures::answer(const Error& error, TimePoint now) {
  if (log_.allow(now)) log_error("hub_store_failed", "reason={}", culvert::quoted(error.message));
  // These two say nothing but what the caller must know; other reasons are for the log.
  if (error.code == ErrorCode::kUnavailable) return retry_response(503, "busy", error.message);
  if (error.code == ErrorCode::kClosed) return error_response(503, "storage", error.message);
  return error_response(503, "storage", "the hub's database refused; see the hub's log");
}

}  // namespace culvert::hub
