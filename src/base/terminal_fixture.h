#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "base/log.h"

namespace culvert {

// A terminal and a process of its own session in it, whose standard streams it is.
class Terminal {
 public:
  explicit Terminal(const std::function<void()>& work) : ours_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    EXPECT_EQ(::grantpt(ours_.get()), 0);
    EXPECT_EQ(::unlockpt(ours_.get()), 0);
    theirs_.reset(::open(::ptsname(ours_.get()), O_RDWR | O_NOCTTY));
    EXPECT_TRUE(theirs_);
    child_ = ::fork();
    if (child_ != 0) return;
    ::alarm(60);
    // A shell without job control has commands in its background ignore some.
    for (const int signal : {SIGINT, SIGQUIT, SIGHUP, SIGTERM}) ::signal(signal, SIG_DFL);
    ::setsid();
    ::ioctl(theirs_.get(), TIOCSCTTY, 0);
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(theirs_.get(), fd);
    work();
    standard_error().drain(kOutputPatience);
    std::_Exit(0);
  }
  ~Terminal() {
    if (child_ > 0 && ::kill(child_, SIGKILL) == 0) ::waitpid(child_, nullptr, 0);
  }

  void type(std::string_view text) {
    EXPECT_EQ(::write(ours_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // All that was shown so far, once it has `text`; what it had before does not count.
  bool shows(std::string_view text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (shown_.find(text, seen_) == std::string::npos) {
      pollfd ready{.fd = ours_.get(), .events = POLLIN, .revents = 0};
      char buffer[1000];
      if (::poll(&ready, 1, 100) == 1) {
        const ssize_t got = ::read(ours_.get(), buffer, sizeof buffer);
        if (got > 0) shown_.append(buffer, static_cast<size_t>(got));
      }
      if (std::chrono::steady_clock::now() > end) return false;
    }
    seen_ = shown_.find(text, seen_) + text.size();
    return true;
  }
  const std::string& shown() const { return shown_; }
  bool echoes() const {
    termios mode{};
    EXPECT_EQ(::tcgetattr(theirs_.get(), &mode), 0);
    return (mode.c_lflag & ECHO) != 0;
  }
  pid_t child() const { return child_; }
  // The wait status of its end, or of its next stop.
  int wait(int options = 0) {
    int status = -1;
    EXPECT_EQ(::waitpid(child_, &status, options), child_);
    if (!WIFSTOPPED(status)) child_ = -1;
    return status;
  }

 private:
  Descriptor ours_, theirs_;
  pid_t child_ = -1;
  std::string shown_;
  size_t seen_ = 0;
};

}  // namespace culvert
