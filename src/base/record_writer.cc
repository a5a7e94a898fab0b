#include "base/record_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace culvert {
namespace {

// Between two writes: more lines for one call, while no reader of the file notices.
constexpr Duration kBatchTime = std::chrono::milliseconds(20);

uint64_t count_lines(std::string_view text) { return static_cast<uint64_t>(std::ranges::count(text, '\n')); }

// Complete lines. A pipe takes PIPE_BUF bytes in one piece, a file takes a call in one piece.
std::string_view next_piece(std::string_view text, bool is_file) {
  const size_t most = is_file ? text.size() : std::min<size_t>(text.size(), PIPE_BUF);
  const size_t end = text.substr(0, most).rfind('\n');
  return text.substr(0, end == std::string_view::npos ? text.find('\n') + 1 : end + 1);
}

bool is_regular(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

// A pipe's reader may be stuck, and standard output is shared, so that it cannot be made non-blocking.
bool takes_more(int fd) {
  pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&ready, 1,
                std::chrono::duration_cast<std::chrono::milliseconds>(RecordWriter::kPatience).count()) > 0;
}

Result<Descriptor> open_for_lines(const std::string& path) {
  // The records say who visited what. Non-blocking: a pipe without a reader is an error.
  Descriptor file(path == "-"
                      ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                      : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640));
  if (file) return file;
  return fail(ErrorCode::kIo, "cannot open {}: {}", culvert::quoted(path), std::strerror(errno));
}

}  // namespace

RecordWriter::~RecordWriter() {
  {
    std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<> RecordWriter::open(const std::string& path) {
  Descriptor file;
  if (!path.empty()) {
    auto opened = open_for_lines(path);
    if (!opened) return std::unexpected(opened.error());
    file = std::move(*opened);
  }
  std::lock_guard lock(mutex_);
  if (path.empty() && !thread_.joinable()) return {};
  path_ = path;
  next_ = std::move(file);
  has_next_ = true;
  is_open_ = !path.empty();
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_one();
  return {};
}

void RecordWriter::write(std::string_view line) {
  std::lock_guard lock(mutex_);
  if (!is_open()) return;
  if (line.size() > max_queued_ - std::min(max_queued_, queued_.size())) {
    ++lost_full_;
    return;
  }
  const bool was_empty = queued_.empty();
  queued_ += line;
  if (was_empty) wake_.notify_one();
}

bool RecordWriter::drain(Duration patience) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, patience, [this] { return is_idle(); });
}

void RecordWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return is_ending_ || has_next_ || !queued_.empty(); });
    if (std::exchange(has_next_, false)) {
      file_ = std::move(next_);
      is_mid_line_ = false;
    }
    const std::string lines = std::exchange(queued_, {});
    if (lines.empty() && is_ending_) return;
    is_writing_ = true;
    lock.unlock();
    put(lines);
    lock.lock();
    is_writing_ = false;
    if (is_idle()) idle_.notify_all();
    wake_.wait_for(lock, kBatchTime, [this] { return is_ending_ || has_next_; });
  }
}

// Lines that go into a file without a name reach nobody. False: there is none to write to.
bool RecordWriter::reopen_if_removed() {
  struct stat info{};
  if (!S_ISREG(::fstat(file_.get(), &info) == 0 ? info.st_mode : 0) || info.st_nlink > 0) return true;
  std::string path;
  {
    std::lock_guard lock(mutex_);
    path = path_;
  }
  auto opened = open_for_lines(path);
  if (!opened) {
    failed(opened.error());
    return false;
  }
  file_ = std::move(*opened);
  is_mid_line_ = false;
  return true;
}

void RecordWriter::put(std::string_view lines) {
  if (lines.empty()) return;
  if (file_ && reopen_if_removed()) lines.remove_prefix(put_bytes(lines));
  lost_failed_ += count_lines(lines);
  if (lines.empty() && is_failing_.exchange(false))
    log_info("access_log_recovered", "lost={}", lost_failed_.load());
}

// Returns how many bytes are done with before the descriptor refused one.
size_t RecordWriter::put_bytes(std::string_view lines) {
  const bool is_file = is_regular(file_.get());
  size_t done = 0;
  while (done < lines.size()) {
    // A line that was cut off ends first.
    const std::string_view piece =
        is_mid_line_ ? std::string_view("\n") : next_piece(lines.substr(done), is_file);
    errno = EAGAIN;
    const ssize_t put =
        is_file || takes_more(file_.get()) ? ::write(file_.get(), piece.data(), piece.size()) : -1;
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      failed({ErrorCode::kIo, std::strerror(put == 0 ? EIO : errno)});
      return done;
    }
    if (std::exchange(is_mid_line_, piece[static_cast<size_t>(put) - 1] != '\n') && piece == "\n") continue;
    written_ += count_lines(piece.substr(0, static_cast<size_t>(put)));
    done += static_cast<size_t>(put);
    if (!is_mid_line_) continue;
    ++lost_failed_;  // the rest of this line would stand alone
    done = lines.find('\n', done) + 1;
  }
  return done;
}

void RecordWriter::failed(const Error& error) {
  if (is_failing_.exchange(true)) return;
  log_error("access_log_failed", "reason={} meaning={}", culvert::quoted(error.message),
            culvert::quoted("access records are lost and counted until it can be written again; connections "
                            "are served all the same"));
}

}  // namespace culvert
