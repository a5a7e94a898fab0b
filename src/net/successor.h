#pragma once
#include <functional>

#include "base/result.h"

// A second process of the same program with the same arguments, which is to go on when the first has ended.
namespace culvert::net {

int own_pid();

// In the environment of such a process.
inline constexpr const char* kSuccessorVariable = "_CULVERT_SUCCESSOR";

enum class SuccessorState : uint8_t {
  kReported,  // report_to_predecessor() was called there
  kEnded,     // without that; or it took too long, and was killed
};

// Starts it in a session of its own, with the same standard error and nothing to read, calls `started`, and
// blocks until it reports or ends. kIo: it cannot be started.
Result<SuccessorState> run_successor(const std::function<void(int pid)>& started);
// In the successor, once.
void report_to_predecessor();

}  // namespace culvert::net
