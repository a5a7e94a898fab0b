#pragma once
#include "base/clock.h"
#include "base/rate_limit.h"
#include "base/result.h"
#include "http/message.h"

namespace culvert::hub {

// Answers for what the store refuses: the reason goes to the log, a few lines of it.
class StoreFailures {
 public:
  http::Response answer(const Error& error, TimePoint now);

 private:
  RateLimit log_{5, std::chrono::seconds(10)};
};

}  // namespace culvert::hub
