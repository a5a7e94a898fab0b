#include "net/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/text.h"
#include "net/ready_socket.h"

namespace culvert::net {
namespace {

// Of output at once, so that a program that writes without end leaves the loop time for others.
constexpr size_t kOutputPerTurn = 64 * 1024;
// A process that was killed ends within this unless the kernel is stuck with it.
constexpr Duration kKillPatience = std::chrono::seconds(1);
constexpr int kLastPatienceMs = 100;

// Frees what posix_spawn() is told.
struct SpawnPlan {
  SpawnPlan() {
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawnattr_init(&attributes) == 0);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

void plan(SpawnPlan& plan, int output) {
  CHECK(posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0);
  CHECK(posix_spawn_file_actions_adddup2(&plan.actions, output, STDOUT_FILENO) == 0);
  CHECK(posix_spawn_file_actions_adddup2(&plan.actions, output, STDERR_FILENO) == 0);
  CHECK(posix_spawn_file_actions_addclosefrom_np(&plan.actions, STDERR_FILENO + 1) == 0);
  CHECK(posix_spawn_file_actions_addchdir_np(&plan.actions, "/") == 0);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  CHECK(posix_spawnattr_setflags(
            &plan.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) == 0);
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// glibc 2.36 declares pidfd_open() for C only.
int open_handle(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

// A child that is killed and reaped at the latest when this is destroyed.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid), handle_(open_handle(pid)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    kill_group();
    pollfd ended{.fd = handle_.get(), .events = POLLIN, .revents = 0};
    ::poll(&ended, 1, kLastPatienceMs);
    (void)reap();
  }

  int handle() const { return handle_.get(); }

  // Before it is reaped, its number and that of its group are its own.
  void kill_group() const {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);  // also where it has left its group
  }

  // How it ended; nullopt: it has not yet.
  std::optional<siginfo_t> reap() {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
      return std::nullopt;
    pid_ = -1;
    return info;
  }

 private:
  pid_t pid_;
  Descriptor handle_;
};

// Reads the output as it comes, and keeps the beginning.
class Output {
 public:
  Output(EventLoop& loop, int fd, size_t max_kept) : socket_(loop, fd), max_kept_(max_kept) { wait(); }

  enum class Turn { kMore, kEmpty, kEnd };
  Turn read_turn() {
    std::array<char, 4096> chunk;
    for (size_t total = 0; total < kOutputPerTurn;) {
      const ssize_t got = ::read(socket_.fd(), chunk.data(), chunk.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return Turn::kEmpty;
      if (got <= 0) return Turn::kEnd;
      const auto size = static_cast<size_t>(got);
      const size_t kept = std::min(size, max_kept_ - text_.size());
      text_.append(chunk.data(), kept);
      is_cut_ = is_cut_ || kept < size;
      total += size;
    }
    return Turn::kMore;
  }

  std::string take_text() { return std::move(text_); }
  bool is_cut() const { return is_cut_; }

 private:
  void wait() {
    socket_.when_readable([this] {
      if (read_turn() != Turn::kEnd) wait();
    });
  }

  ReadySocket socket_;
  const size_t max_kept_;
  std::string text_;
  bool is_cut_ = false;
};

std::unexpected<Error> cannot_run(const std::string& program, int error) {
  return fail(ErrorCode::kIo, "cannot run {}: {}", program, std::strerror(error));
}

ProcessEnd to_end(const siginfo_t& info) {
  ProcessEnd end;
  if (info.si_code == CLD_EXITED) {
    end.exit_status = info.si_status;
  } else {
    end.signal = info.si_status;
  }
  return end;
}

}  // namespace

std::string ProcessEnd::to_string() const {
  if (!in_time) return "no end in time";
  if (signal) return fmt::format("signal {} ({})", *signal, strsignal(*signal));
  return fmt::format("exit status {}", exit_status);
}

Result<> check_program(const std::string& path) {
  const auto invalid = [&](std::string_view fault) {
    return fail(ErrorCode::kInvalid, "invalid program {}: {}", quoted(path), fault);
  };
  if (!path.starts_with('/')) return invalid("the path is not absolute");
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return invalid(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return invalid("it is not a regular file");
  if (::access(path.c_str(), X_OK) != 0) return invalid("this user may not run it; allow it with `chmod +x`");
  return {};
}

Task<Result<ProcessEnd>> run_process(EventLoop& loop, ProcessOptions options, TimePoint deadline) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) co_return cannot_run(options.program, errno);
  Descriptor reading(ends[0]), writing(ends[1]);
  // Our end alone: programs do not expect a standard output that says EAGAIN.
  ::fcntl(reading.get(), F_SETFL, O_NONBLOCK);

  SpawnPlan spawn;
  plan(spawn, writing.get());
  options.arguments.insert(options.arguments.begin(), options.program);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, options.program.c_str(), &spawn.actions, &spawn.attributes,
                    pointers_to(options.arguments).data(), pointers_to(options.environment).data());
  if (error != 0) co_return cannot_run(options.program, error);
  writing.reset();
  Child child(pid);
  const int handle = ::fcntl(child.handle(), F_DUPFD_CLOEXEC, 0);
  if (handle < 0) co_return cannot_run(options.program, errno);

  bool has_ended = false;
  Notify ended(loop);
  ReadySocket watch(loop, handle);
  watch.when_readable([&] {
    has_ended = true;
    ended.notify();
  });
  Output output(loop, reading.release(), options.max_output);
  if (!has_ended) co_await ended.wait_until(deadline);
  const bool in_time = has_ended;
  child.kill_group();
  if (!has_ended) co_await ended.wait_until(loop.now() + kKillPatience);
  (void)output.read_turn();

  ProcessEnd end;
  if (const auto info = child.reap()) end = to_end(*info);
  end.in_time = in_time;
  end.output = output.take_text();
  end.is_output_cut = output.is_cut();
  co_return end;
}

}  // namespace culvert::net
