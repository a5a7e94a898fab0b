#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dns/name.h"
#include "net/event_loop.h"

namespace culvert::dns {

struct VisibilityOptions {
  Duration timeout = std::chrono::minutes(2);
  Duration interval = std::chrono::seconds(2);  // from one look to the next
  // The zone that should have the name. Where another has it, a delegation is missing, which is told.
  std::optional<Name> zone = {};
  // Those that resolve names for this machine, unless given.
  std::vector<SocketAddr> resolvers = {};
  uint16_t port = 53;  // of authoritative servers
};

// Waits until the authoritative name servers of a name have this TXT value, as a certificate authority will
// look for it: at least one has it, and none that answers lacks it. Aliases (CNAME) are followed. Errors:
// kTimeout and kUnavailable; the message has what each server answered last, and what to do about a
// delegation that is missing.
net::Task<Result<>> wait_until_visible(net::EventLoop& loop, Name name, std::string value,
                                       VisibilityOptions options = {});

}  // namespace culvert::dns
