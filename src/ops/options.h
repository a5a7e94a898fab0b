#pragma once
#include <optional>

#include "base/settings.h"
#include "base/socket_addr.h"

namespace culvert::ops {

// What the user of a program may choose of its Server.
struct Options {
  std::optional<SocketAddr> listen = std::nullopt;  // not set: nowhere
};

// Section [metrics].
void describe(SettingsBuilder& settings, Options& options);

}  // namespace culvert::ops
