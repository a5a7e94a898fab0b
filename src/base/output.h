#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"

namespace culvert {

// How long the end of the process waits for a reader to take what is queued.
constexpr Duration kOutputPatience = std::chrono::seconds(1);

// Lines for one descriptor whose reader may be slow, stuck or gone (a pager, Ctrl-S, a full disk).
//
// Once start_thread() was called, write() only queues and a thread of its own writes: no caller ever waits
// for the descriptor. Before that write() writes itself, which is what short commands and tests need. In both
// cases lines keep their order, and what cannot be written (EPIPE, ENOSPC, EIO) is counted and never an error
// of the caller. Needs SIGPIPE to be ignored. Thread-safe; a child after fork() has no writing thread.
class Output {
 public:
  // What may be queued, and once more as much while it is being written: some 5,000 lines. More lines wait
  // longer for a reader that is only slow, and cost memory when it is stuck.
  static constexpr size_t kMaxQueued = 1024 * 1024;

  // Returns the line that reports the loss of that many lines. Called on the writing thread.
  using LossReport = std::string (*)(uint64_t lines);

  Output(int fd, LossReport report, size_t max_queued = kMaxQueued);
  // Waits until what is queued is written, for as long as that takes. The instances of the program are never
  // destroyed: their thread may be stuck in write() while the process ends.
  ~Output();
  Output(const Output&) = delete;

  void start_thread();
  // Complete lines, each ending in a line feed. While the queue is full lines are dropped; the report of how
  // many comes after those that were queued before them.
  void write(std::string_view lines);
  // Waits until everything is written or lost, at most that long; tells whether it is.
  bool drain(Duration patience);
  // The errno of the first write that the descriptor refused, 0 if there was none. Lines dropped because its
  // reader is slow do not count.
  int error() const { return error_; }

 private:
  void run();
  void put(std::string_view lines);
  size_t put_bytes(std::string_view text);
  bool is_idle() const { return queued_.empty() && dropped_ == 0 && !is_writing_; }

  const int fd_;
  const LossReport report_;
  const size_t max_queued_;
  std::atomic<int> error_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::string queued_;
  uint64_t dropped_ = 0;  // after those in queued_
  bool is_writing_ = false;
  bool is_ending_ = false;
  std::thread thread_;

  // Of the writing thread; without one, under mutex_.
  uint64_t unreported_ = 0;  // lines lost
  bool is_mid_line_ = false;
};

// Opens those of the descriptors 0 to 2 that are closed. Otherwise the next file or socket that is opened
// gets the number, and what is meant for the terminal goes into it. They are opened so that their use fails:
// output that does not arrive is no success. Call before anything that opens a file. False when it is
// impossible.
bool open_standard_descriptors();

}  // namespace culvert
