#include "hub/store_failures.h"

#include "base/log.h"
#include "hub/answers.h"

namespace culvert::hub {

http::Response StoreFailures::answer(const Error& error, TimePoint now) {
  if (log_.allow(now)) log_error("hub_store_failed", "reason={}", culvert::quoted(error.message));
  return error_response(503, "storage", "the hub's database refused; see the hub's log");
}

}  // namespace culvert::hub
