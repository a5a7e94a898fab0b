#include "net/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>

#include "base/check.h"

namespace culvert::net {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t writing_end = -1;

// Whatever thread it runs on; a full pipe has enough of them already.
void note_signal(int number) {
  const int error = errno;
  const auto byte = static_cast<unsigned char>(number);
  (void)!::write(writing_end, &byte, 1);
  errno = error;
}

// nohup asks for this: the program is to outlive its terminal.
bool is_ignored(int number) {
  struct sigaction action{};
  return sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void handle_by(int number, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

int open_pipe() {
  CHECK(writing_end < 0);
  std::array<int, 2> ends;
  CHECK(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  writing_end = ends[1];
  return ends[0];
}

}  // namespace

HangUp meaning_of_hang_up() {
  const int terminal = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return HangUp::kReloads;
  ::close(terminal);
  return HangUp::kStops;
}

StopSignals::StopSignals(EventLoop& loop, HangUp hang_up) : arrived_(loop, open_pipe()), hang_up_(hang_up) {
  for (const int number : kSignals) {
    if (number != SIGHUP || !is_ignored(number)) handle_by(number, note_signal);
  }
}

StopSignals::~StopSignals() {
  for (const int number : kSignals) {
    if (number != SIGHUP || !is_ignored(number)) handle_by(number, SIG_DFL);
  }
  ::close(writing_end);
  writing_end = -1;
}

Task<int> StopSignals::next() {
  auto ready = std::make_shared<Notify>(arrived_.loop());
  while (true) {
    unsigned char number;
    const ssize_t got = ::read(arrived_.fd(), &number, 1);
    if (got == 1 && (number != SIGHUP || !is_stopping_)) {
      is_stopping_ = number != SIGHUP || hang_up_ == HangUp::kStops;
      co_return number;
    }
    if (got == 1 || (got < 0 && errno == EINTR)) continue;
    arrived_.cancel();  // the wait of an earlier caller that was cancelled
    arrived_.when_readable([ready] { ready->notify(); });
    co_await ready->wait();
  }
}

}  // namespace culvert::net
