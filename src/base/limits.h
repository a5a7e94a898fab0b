#pragma once
#include <cstdint>

#include "base/result.h"

namespace culvert {

// The effective user is root.
bool running_as_root();

// Lets this process open as many descriptors as its hard limit allows: a node needs two for each public
// connection, and the soft limit is 1024 on most systems. Returns the limit now in force; kIo when the system
// refused.
Result<uint64_t> raise_descriptor_limit();

}  // namespace culvert
