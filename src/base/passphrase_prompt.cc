#include "base/passphrase_prompt.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/log.h"

namespace culvert {
namespace {

constexpr std::array<int, 6> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGTSTP};

// Where the handler writes the signal's number. The signal may come on any thread, so that it need not
// interrupt the one that reads.
volatile sig_atomic_t g_pipe = -1;

void take_signal(int signal) {
  const int saved = errno;
  const auto number = static_cast<unsigned char>(signal);
  [[maybe_unused]] const ssize_t written = ::write(g_pipe, &number, 1);
  errno = saved;
}

// Turns the echo off and takes over the signals, from beginning to end of its life.
class QuietTerminal {
 public:
  QuietTerminal(int terminal, int when) : terminal_(terminal) {
    std::array<int, 2> ends{};
    CHECK(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    read_end_.reset(ends[0]);
    write_end_.reset(ends[1]);
    CHECK(g_pipe == -1);
    g_pipe = ends[1];
    struct sigaction taken{};
    taken.sa_handler = take_signal;
    sigemptyset(&taken.sa_mask);
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], nullptr, &before_[i]);
      // What the process was told to ignore, as nohup does, it ignores here as well.
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &taken, nullptr);
    }
    is_changed_ = ::tcgetattr(terminal_, &mode_) == 0;
    termios quiet = mode_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= static_cast<tcflag_t>(ICANON | ECHONL | ISIG);  // the end of the line is shown
    is_quiet_ = is_changed_ && set(when, quiet);
  }
  ~QuietTerminal() {
    if (is_changed_) set(TCSADRAIN, mode_);
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
    g_pipe = -1;
  }
  QuietTerminal(const QuietTerminal&) = delete;

  bool is_quiet() const { return is_quiet_; }

  // Waits for something to read; a signal that came first, or 0.
  int wait() {
    while (true) {
      std::array<pollfd, 2> ready = {{{.fd = read_end_.get(), .events = POLLIN, .revents = 0},
                                      {.fd = terminal_, .events = POLLIN, .revents = 0}}};
      if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) return 0;
      unsigned char signal = 0;
      if (::read(read_end_.get(), &signal, 1) == 1) return signal;
      if (ready[1].revents != 0) return 0;
    }
  }

 private:
  bool set(int when, const termios& mode) const {
    int done = -1;
    do {
      done = ::tcsetattr(terminal_, when, &mode);
    } while (done != 0 && errno == EINTR);
    return done == 0;
  }

  const int terminal_;
  Descriptor read_end_, write_end_;
  std::array<struct sigaction, kSignals.size()> before_{};
  termios mode_{};
  bool is_changed_ = false;
  bool is_quiet_ = false;
};

}  // namespace

bool PassphrasePrompt::is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

void PassphrasePrompt::write(std::string_view text) {
  // Standard input that was redirected from a terminal may be for reading only.
  if (::write(terminal_, text.data(), text.size()) >= 0) return;
  standard_error().write(text);
  standard_error().drain(kOutputPatience);
}

struct PassphrasePrompt::Line {
  Line() = default;
  Line(const Line&) = delete;
  ~Line() { clear(); }
  void clear() {
    wipe(bytes);
    size = 0;
  }
  bool is_whole() const { return size > 0 && bytes[size - 1] == '\n'; }
  bool is_over() const { return is_whole() || size == bytes.size() || has_ended || error != 0; }

  std::array<uint8_t, kMaxLength + 1> bytes{};  // with the line feed
  size_t size = 0;
  bool has_ended = false;
  int error = 0;
};

// Asks once. Returns the signal that came meanwhile, or 0; the terminal and the signals are as they were
// then.
int PassphrasePrompt::read(std::string_view question, Line& line) {
  QuietTerminal quiet(terminal_, was_asked_ ? TCSADRAIN : TCSAFLUSH);
  was_asked_ = true;
  if (!quiet.is_quiet()) {
    line.error = ENOTTY;
    return 0;
  }
  write(question);
  int signal = 0;
  while (signal == 0 && !line.is_over()) {
    signal = quiet.wait();
    if (signal != 0) break;
    const ssize_t got = ::read(terminal_, line.bytes.data() + line.size, line.bytes.size() - line.size);
    if (got > 0) line.size += static_cast<size_t>(got);
    if (got == 0) line.has_ended = true;
    if (got < 0 && errno != EINTR && errno != EAGAIN) line.error = errno;
  }
  if (signal != 0 || line.has_ended) write("\n");
  return signal;
}

Result<SecretString> PassphrasePrompt::ask(std::string_view question) {
  Line line;
  while (const int signal = read(question, line)) {
    std::raise(signal);
    // The process was stopped, and goes on.
    line.clear();
  }
  if (line.error != 0)
    return fail(ErrorCode::kIo, "the terminal cannot be used: {}", std::strerror(line.error));
  if (line.has_ended) return fail(ErrorCode::kInvalid, "no passphrase was given");
  if (!line.is_whole())
    return fail(ErrorCode::kInvalid, "the passphrase is longer than {} bytes", kMaxLength);
  if (line.size == 1) return fail(ErrorCode::kInvalid, "the passphrase is empty");
  return SecretString(as_text({line.bytes.data(), line.size - 1}));
}

}  // namespace culvert
