#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/result.h"

namespace culvert {

// Adds lines to a file, on a thread of its own: no worker ever waits for a disk. write() takes a mutex for
// the time of a copy, once for each connection. What does not fit into the queue, and what the disk does not
// take, is counted and lost. Several processes may add to one file: a line is never mixed with another's.
// Thread-safe.
class RecordWriter {
 public:
  // Some 8,000 lines: of a second in which the disk is busy.
  static constexpr size_t kMaxQueued = 4 * 1024 * 1024;
  // How long the end of the process waits for a disk that does not answer.
  static constexpr Duration kPatience = std::chrono::seconds(2);

  explicit RecordWriter(size_t max_queued = kMaxQueued) : max_queued_(max_queued) {}
  // Writes what is queued.
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;

  // Opens the file, which is made with mode 0640, also when it is the one that is open: under the name there
  // may be another by now. Lines that are queued go to the new one. "-": standard output. Empty: nowhere, and
  // nothing is taken. On an error (kIo) all stays as it was.
  Result<> open(const std::string& path);
  bool is_open() const { return is_open_.load(std::memory_order_relaxed); }
  // A complete line, which ends in a line feed.
  void write(std::string_view line);
  // Waits until what was queued is written or lost, at most that long; tells whether it is.
  bool drain(Duration patience);

  uint64_t written() const { return written_; }            // lines
  uint64_t lost_queue_full() const { return lost_full_; }  // lines
  uint64_t lost_write_failed() const { return lost_failed_; }
  bool is_failing() const { return is_failing_; }

 private:
  void run();
  void put(std::string_view lines);
  size_t put_bytes(std::string_view lines);
  bool reopen_if_removed();
  void failed(const Error& error);
  bool is_idle() const { return queued_.empty() && !is_writing_; }

  const size_t max_queued_;
  std::atomic<bool> is_open_ = false;
  std::atomic<uint64_t> written_ = 0;
  std::atomic<uint64_t> lost_full_ = 0;
  std::atomic<uint64_t> lost_failed_ = 0;
  std::atomic<bool> is_failing_ = false;

  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::string queued_;
  std::string path_;
  Descriptor next_;  // that the thread is to go on with
  bool has_next_ = false;
  bool is_writing_ = false;
  bool is_ending_ = false;
  std::thread thread_;

  // Of the thread.
  Descriptor file_;
  bool is_mid_line_ = false;
};

}  // namespace culvert
