#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/event_loop.h"

namespace culvert::net {

struct ProcessOptions {
  std::string program;                        // a path; no shell and no PATH are asked
  std::vector<std::string> arguments = {};    // without the program's name
  std::vector<std::string> environment = {};  // "NAME=value": all that it gets
  size_t max_output = 16 * 1024;              // bytes that are kept; what follows is read and dropped
};

struct ProcessEnd {
  bool in_time = true;             // otherwise it was killed at the deadline
  int exit_status = 0;             // where it ended by itself
  std::optional<int> signal = {};  // that ended it
  std::string output = {};         // standard output and standard error, as they came
  bool is_output_cut = false;

  bool succeeded() const { return in_time && !signal && exit_status == 0; }
  // "exit status 3", "signal 11 (Segmentation fault)", "no end in time".
  std::string to_string() const;
};

// kInvalid: the path is not absolute, or leads to no file that this user may run; the message says which.
Result<> check_program(const std::string& path);

// Runs a program to its end, without blocking the loop: in a process group of its own, in the directory /,
// with nothing to read and no descriptor of ours. When it ends, at the deadline, or when the task is
// cancelled, all that is left of its group is killed. Errors: kIo, when it cannot be started; the message
// names the program. Not in simulated time.
Task<Result<ProcessEnd>> run_process(EventLoop& loop, ProcessOptions options, TimePoint deadline);

}  // namespace culvert::net
