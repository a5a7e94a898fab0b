#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace culvert {
namespace {

namespace fs = std::filesystem;

// Reads errno: call it right after the system call that failed.
std::unexpected<Error> io_error(const char* verb, const fs::path& path) {
  return fail(ErrorCode::kIo, "cannot {} {}: {}", verb, path.native(), std::strerror(errno));
}

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

Result<> write_all(int fd, ByteView content, const fs::path& path) {
  while (!content.empty()) {
    ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("write", path);
    content = content.subspan(static_cast<size_t>(written));
  }
  return {};
}

constexpr std::string_view kDraftMark = ".draft-";
constexpr Duration kLongestWrite = std::chrono::minutes(5);  // of another process that still writes its draft

// A complete, synced file beside its future name; removed when it is destroyed, unless renamed away.
class Draft {
 public:
  static Result<Draft> write(const fs::path& path, ByteView content, mode_t mode) {
    remove_drafts(path, kLongestWrite);
    std::string name = fmt::format("{}{}XXXXXX", path.native(), kDraftMark);
    Descriptor fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd) return io_error("create", path);
    Draft draft(std::move(name));
    if (::fchmod(fd.get(), mode) != 0) return io_error("set the mode of", path);
    auto written = write_all(fd.get(), content, path);
    if (!written) return std::unexpected(written.error());
    if (::fsync(fd.get()) != 0) return io_error("write", path);
    return draft;
  }
  Draft(Draft&& other) noexcept : name_(std::exchange(other.name_, {})) {}
  Draft& operator=(Draft&&) = delete;
  ~Draft() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  const char* name() const { return name_.c_str(); }

 private:
  explicit Draft(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

// Makes the new name survive a power cut.
Result<> sync_directory(const fs::path& path) {
  Descriptor fd(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return io_error("open the directory of", path);
  // Some file systems cannot sync a directory; the file is written all the same.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return io_error("sync the directory of", path);
  return {};
}

// Gives the draft its name only if no file has it. link() does so on every Unix file system that has hard
// links; renameat2() covers those without.
int name_exclusively(const char* draft, const char* path) {
  if (::link(draft, path) == 0) return 0;
  if (errno != EPERM && errno != EOPNOTSUPP) return -1;
  return ::renameat2(AT_FDCWD, draft, AT_FDCWD, path, RENAME_NOREPLACE);
}

// A file that is read from its beginning. Pipes and terminals are waited for, though not for ever: some files
// are read again while a loop waits.
class Reader {
 public:
  static Result<Reader> open(const fs::path& path) {
    // Opening a pipe would wait for its writer.
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) {
      if (errno == ENOENT) return fail(ErrorCode::kNotFound, "{} does not exist", path.native());
      return io_error("open", path);
    }
    struct stat about{};
    if (::fstat(fd.get(), &about) != 0) return io_error("read", path);
    const bool may_wait = !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode);
    return Reader(std::move(fd), path, may_wait);
  }

  // How much was read; 0 at the end.
  Result<size_t> read(void* to, size_t size) {
    while (true) {
      if (auto waited = wait(); !waited) return std::unexpected(waited.error());
      const ssize_t got = ::read(fd_.get(), to, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR && errno != EAGAIN) return io_error("read", path_);
    }
  }

 private:
  static constexpr int kPatienceMs = 5000;

  Reader(Descriptor fd, const fs::path& path, bool may_wait)
      : fd_(std::move(fd)), path_(path), may_wait_(may_wait) {}

  Result<> wait() const {
    if (!may_wait_) return {};
    pollfd waits{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waits, 1, kPatienceMs);
    if (ready < 0 && errno != EINTR) return io_error("read", path_);
    if (ready == 0)
      return fail(ErrorCode::kIo,
                  "cannot read {}: it is not a regular file, and no data came from it within {} s",
                  path_.native(), kPatienceMs / 1000);
    return {};
  }

  Descriptor fd_;
  fs::path path_;
  bool may_wait_;
};

constexpr size_t kReadStep = 65536;

}  // namespace

Result<Bytes> read_file(const fs::path& path, size_t max_size) {
  auto file = Reader::open(path);
  if (!file) return std::unexpected(file.error());
  Bytes content;
  while (content.size() <= max_size) {
    const size_t before = content.size();
    content.resize(before + std::min(kReadStep, max_size + 1 - before));
    auto got = file->read(content.data() + before, content.size() - before);
    if (!got) return std::unexpected(got.error());
    content.resize(before + *got);
    if (*got == 0) return content;
  }
  return fail(ErrorCode::kLimit, "{} is longer than {} bytes", path.native(), max_size);
}

Result<> read_lines(const fs::path& path, size_t max_line,
                    const std::function<Result<>(std::string_view line)>& take) {
  auto file = Reader::open(path);
  if (!file) return std::unexpected(file.error());
  std::string buffer;
  size_t held = 0;  // bytes of it: a line that has not ended yet
  while (true) {
    buffer.resize(held + kReadStep);
    auto got = file->read(buffer.data() + held, kReadStep);
    if (!got) return std::unexpected(got.error());
    if (*got == 0) return {};
    std::string_view rest = std::string_view(buffer).substr(0, held + *got);
    size_t from = held;
    for (size_t end = rest.find('\n', from); end != std::string_view::npos; end = rest.find('\n')) {
      if (auto taken = take(rest.substr(0, end)); !taken) return taken;
      rest.remove_prefix(end + 1);
    }
    if (rest.size() > max_line)
      return fail(ErrorCode::kLimit, "{} has a line of more than {} bytes", path.native(), max_line);
    held = rest.size();
    buffer.erase(0, static_cast<size_t>(rest.data() - buffer.data()));
  }
}

namespace {

Result<> create_file(const fs::path& path, ByteView content, mode_t mode) {
  auto draft = Draft::write(path, content, mode);
  if (!draft) return std::unexpected(draft.error());
  if (name_exclusively(draft->name(), path.c_str()) != 0) {
    if (errno == EEXIST) return fail(ErrorCode::kConflict, "{} exists already", path.native());
    return io_error("create", path);
  }
  return sync_directory(path);
}

}  // namespace

Result<> create_private_file(const fs::path& path, ByteView content) {
  return create_file(path, content, 0600);
}

Result<> create_public_file(const fs::path& path, ByteView content) {
  return create_file(path, content, 0644);
}

Result<> append_to_file(const fs::path& path, ByteView content) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd) return io_error("open", path);
  return write_all(fd.get(), content, path);
}

Result<> truncate_file(const fs::path& path, size_t size) {
  if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0) return io_error("cut", path);
  return {};
}

Result<> replace_file(const fs::path& path, ByteView content, unsigned mode) {
  // Renaming over a device or a pipe, also one behind a link such as /dev/stdout, would remove it.
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kIo, "cannot replace {}: it is not a regular file; choose another path",
                path.string());
  }
  auto draft = Draft::write(path, content, static_cast<mode_t>(mode));
  if (!draft) return std::unexpected(draft.error());
  if (::rename(draft->name(), path.c_str()) != 0) return io_error("replace", path);
  return sync_directory(path);
}

void remove_drafts(const fs::path& path, Duration min_age) {
  const std::string start = path.filename().native() + std::string(kDraftMark);
  const auto newest =
      unix_now().time_since_epoch() - std::chrono::duration_cast<std::chrono::seconds>(min_age);
  std::error_code error;
  for (fs::directory_iterator entry(directory_of(path), error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat status;
    if (!entry->path().filename().native().starts_with(start)) continue;
    if (::lstat(entry->path().c_str(), &status) != 0 || status.st_mtime > newest.count()) continue;
    ::unlink(entry->path().c_str());
  }
}

Result<bool> make_private(const fs::path& path) {
  constexpr mode_t kOthers = S_IRWXG | S_IRWXO;
  struct stat status;
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
    return false;  // for its reader to report
  if ((status.st_mode & kOthers) == 0) return false;
  // Some file systems accept a mode and ignore it.
  if (::chmod(path.c_str(), status.st_mode & 07777 & ~kOthers) == 0 && ::stat(path.c_str(), &status) == 0 &&
      (status.st_mode & kOthers) == 0) {
    return true;
  }
  return fail(
      ErrorCode::kIo,
      "other users may read {}, which holds a secret; run `chmod 600 {}` as its owner, or move it to a "
      "file system that keeps file modes",
      path.native(), path.native());
}

Result<> check_only_owner_writes(const fs::path& directory) {
  struct stat status;
  if (::stat(directory.c_str(), &status) != 0) return io_error("read", directory);
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  return fail(ErrorCode::kInvalid, "other users may write to {} (mode {:04o}); run `chmod go-w {}`",
              directory.native(), status.st_mode & 07777, directory.native());
}

Result<> create_private_directory(const fs::path& path) {
  if (path.empty()) return fail(ErrorCode::kIo, "cannot create a directory without a name");
  fs::path step;
  for (const fs::path& part : path) {
    step /= part;
    if (::mkdir(step.c_str(), 0700) == 0 || errno == EEXIST) continue;
    // A parent we may not write to, or on a read-only disk, is fine as long as it is there.
    const int reason = errno;
    struct stat status;
    if (::stat(step.c_str(), &status) == 0) continue;
    errno = reason;
    return io_error("create the directory", step);
  }
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return io_error("create the directory", path);
  if (!S_ISDIR(status.st_mode)) {
    errno = ENOTDIR;
    return io_error("create the directory", path);
  }
  return {};
}

Result<FileIdentity> file_identity(const fs::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) return FileIdentity{status.st_dev, status.st_ino};
  if (errno == ENOENT) return fail(ErrorCode::kNotFound, "{} does not exist", path.native());
  return io_error("look at", path);
}

Result<FileLock> FileLock::take(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return io_error("open", path);
  const int fd = file.get();
  int locked = -1;
  do {
    locked = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0 && errno == EWOULDBLOCK) {
    char text[24] = {};
    const ssize_t got = ::pread(fd, text, sizeof text - 1, 0);
    const long pid = got > 0 ? std::strtol(text, nullptr, 10) : 0;
    if (pid <= 0) return fail(ErrorCode::kConflict, "unknown pid");
    return fail(ErrorCode::kConflict, "pid {}", pid);
  }
  if (locked != 0) return io_error("lock", path);
  FileLock lock(std::move(file));
  lock.name_owner();
  return lock;
}

FileLock FileLock::adopt(Descriptor file) { return FileLock(std::move(file)); }

Result<Descriptor> FileLock::duplicate() const {
  Descriptor copy(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(ErrorCode::kIo, "cannot duplicate a lock: {}", std::strerror(errno));
  return copy;
}

// The lock is held without its text, too: that is only for a message, and the disk may be full. Written
// before it is cut, so that the file's block is not given away.
void FileLock::name_owner() const {
  const std::string pid = fmt::format("{}\n", ::getpid());
  const bool written = ::pwrite(file_.get(), pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
  (void)!::ftruncate(file_.get(), written ? static_cast<off_t>(pid.size()) : 0);
}

}  // namespace culvert
