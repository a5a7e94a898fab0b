#include "base/output.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace culvert {
namespace {

uint64_t count_lines(std::string_view text) { return static_cast<uint64_t>(std::ranges::count(text, '\n')); }

// Complete lines, at most PIPE_BUF bytes if the first line is no longer: these arrive in one piece where
// others write into the same pipe.
std::string_view next_piece(std::string_view text) {
  const size_t end = text.substr(0, PIPE_BUF).rfind('\n');
  if (end != std::string_view::npos) return text.substr(0, end + 1);
  const size_t line_end = text.find('\n');
  return line_end == std::string_view::npos ? text : text.substr(0, line_end + 1);
}

}  // namespace

Output::Output(int fd, LossReport report, size_t max_queued)
    : fd_(fd), report_(report), max_queued_(max_queued) {}

Output::~Output() {
  {
    std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Output::start_thread() {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Output::write(std::string_view lines) {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) {
    put(lines);
    return;
  }
  // Once lines are dropped all are until the queue is taken: a short one that fits would overtake the report.
  if (dropped_ > 0 || lines.size() > max_queued_ - queued_.size()) {
    dropped_ += count_lines(lines);
  } else {
    queued_ += lines;
  }
  wake_.notify_one();
}

bool Output::drain(Duration patience) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, patience, [this] { return is_idle(); });
}

void Output::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return is_ending_ || !is_idle(); });
    if (is_idle()) return;
    const std::string lines = std::exchange(queued_, {});
    const uint64_t dropped = std::exchange(dropped_, 0);
    is_writing_ = true;
    lock.unlock();
    put(lines);
    if (dropped > 0) {
      unreported_ += dropped;
      put({});
    }
    lock.lock();
    is_writing_ = false;
    if (is_idle()) idle_.notify_all();
  }
}

void Output::put(std::string_view lines) {
  if (unreported_ > 0) {
    const std::string report = report_(unreported_);
    if (put_bytes(report) < report.size()) {
      unreported_ += count_lines(lines);
      return;
    }
    unreported_ = 0;
  }
  unreported_ += count_lines(lines.substr(put_bytes(lines)));
}

// Returns how many bytes were written before the descriptor refused one.
size_t Output::put_bytes(std::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    // A line that was cut off ends first.
    const bool ends_line = is_mid_line_ && done == 0;
    const std::string_view piece = ends_line ? std::string_view("\n") : next_piece(text.substr(done));
    const ssize_t written = ::write(fd_, piece.data(), piece.size());
    if (written > 0) {
      is_mid_line_ = piece[static_cast<size_t>(written) - 1] != '\n';
      if (!ends_line) done += static_cast<size_t>(written);
    } else if (written < 0 && errno == EAGAIN) {
      // Another process that shares the terminal made it non-blocking.
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (written == 0 || errno != EINTR) {
      if (error_ == 0) error_ = written == 0 ? EIO : errno;
      break;
    }
  }
  return done;
}

bool open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // open() takes the lowest free number, and those below are in use.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return false;
  }
  return true;
}

}  // namespace culvert
