#pragma once
#include "base/result.h"
#include "cli/settings.h"

namespace culvert::cli {

// What `culvert node --upgrade` does itself: it starts the process that becomes the node, and waits until
// that serves, or has ended. kConflict: it does not serve, and has said why.
Result<> run_upgrade();
// This is the process that is to become the node.
bool is_successor(const Environment& environment);

// For the service manager, if there is one, and for the command that started this process: the node serves.
void tell_of_service(const Environment& environment, bool is_upgrade);

}  // namespace culvert::cli
