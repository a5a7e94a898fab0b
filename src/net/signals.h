#pragma once
#include "net/event_loop.h"

namespace culvert::net {

// Waits for SIGINT or SIGTERM and returns its number. Install once, before threads start.
Task<int> wait_for_stop_signal(EventLoop& loop);

}  // namespace culvert::net
