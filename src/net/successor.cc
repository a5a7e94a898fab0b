#include "net/successor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/descriptor.h"
#include "base/file.h"

namespace culvert::net {
namespace {

// Where the successor finds the writing end of the pipe.
constexpr int kReportFd = 3;
// More than all deadlines of a hand-over together.
constexpr int kPatienceMs = 150'000;
constexpr size_t kMaxArguments = 1 << 20;

// As they were given: each ends with a zero byte.
Result<std::vector<std::string>> own_arguments() {
  auto content = read_file("/proc/self/cmdline", kMaxArguments);
  if (!content) return std::unexpected(content.error());
  std::vector<std::string> words;
  std::string_view rest = as_text(*content);
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    words.emplace_back(word);
  }
  return words;
}

std::vector<std::string> environment_of_successor() {
  std::vector<std::string> out;
  for (char** each = environ; *each != nullptr; ++each) out.emplace_back(*each);
  out.push_back(fmt::format("{}=1", kSuccessorVariable));
  return out;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<pid_t> spawn(int report) {
  auto arguments = own_arguments();
  if (!arguments) return std::unexpected(arguments.error());
  std::vector<std::string> environment = environment_of_successor();
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  CHECK(posix_spawn_file_actions_init(&actions) == 0);
  CHECK(posix_spawnattr_init(&attributes) == 0);
  CHECK(posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0);
  CHECK(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0);
  CHECK(posix_spawn_file_actions_adddup2(&actions, report, kReportFd) == 0);
  CHECK(posix_spawn_file_actions_addclosefrom_np(&actions, kReportFd + 1) == 0);
  CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID) == 0);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes,
                                  pointers_to(*arguments).data(), pointers_to(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(ErrorCode::kIo, "cannot start a second process: {}", std::strerror(error));
  return pid;
}

// One byte; the end without one is that of the process.
bool await_report(int fd) {
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  int polled;
  do {
    polled = ::poll(&ready, 1, kPatienceMs);
  } while (polled < 0 && errno == EINTR);
  char report;
  return polled > 0 && ::read(fd, &report, 1) == 1;
}

}  // namespace

int own_pid() { return ::getpid(); }

Result<SuccessorState> run_successor(const std::function<void(int pid)>& started) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::kIo, "cannot make a pipe: {}", std::strerror(errno));
  const Descriptor reading(ends[0]);
  Descriptor made(ends[1]);
  // Another number than kReportFd: a dup2 onto itself would leave it to be closed.
  Descriptor writing(::fcntl(made.get(), F_DUPFD_CLOEXEC, kReportFd + 1));
  made.reset();
  auto pid = spawn(writing.get());
  if (!pid) return std::unexpected(pid.error());
  writing.reset();
  started(*pid);
  if (await_report(reading.get())) return SuccessorState::kReported;
  ::kill(*pid, SIGKILL);
  ::waitpid(*pid, nullptr, 0);
  return SuccessorState::kEnded;
}

void report_to_predecessor() {
  const char report = '\n';
  (void)!::write(kReportFd, &report, 1);
  ::close(kReportFd);
}

}  // namespace culvert::net
