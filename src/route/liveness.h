#pragma once
#include "base/clock.h"
#include "base/key.h"

namespace culvert::route {

// An edge heard an agent through its tunnel, last at `when`.
struct AgentHeard {
  EndpointId agent;
  TimePoint when;
};

}  // namespace culvert::route
