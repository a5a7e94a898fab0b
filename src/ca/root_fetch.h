#pragma once
#include <string>

#include "base/result.h"
#include "net/event_loop.h"

namespace culvert::ca {

// The root certificate of the ACME server that this URL leads to, its directory or another one, in PEM. The
// server is not authenticated: whoever trusts the root compares its fingerprint first. Errors name the
// server.
net::Task<Result<std::string>> fetch_root(net::EventLoop& loop, std::string url, TimePoint deadline);

}  // namespace culvert::ca
