#pragma once
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace culvert::dns::testing {

// For tests: a server of a Debian package, in a directory of its own, where its log is. It ends with this
// object, and with this process.
class ServerProcess {
 public:
  // The directory is there already.
  ServerProcess(std::filesystem::path directory, std::vector<std::string> command)
      : directory_(std::move(directory)) {
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    const std::string log_file = (directory_ / "log").native();
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || ::freopen(log_file.c_str(), "w", stderr) == nullptr) ::_exit(1);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execv(arguments.front(), arguments.data());
    ::_exit(1);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() {
    if (has_ended()) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  bool has_ended() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ < 0;
  }
  std::string log() const {
    std::ifstream file(directory_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  const std::filesystem::path directory_;
  pid_t pid_;
};

inline std::filesystem::path make_directory(std::string pattern) {
  pattern += "XXXXXX";
  return ::mkdtemp(pattern.data());
}

}  // namespace culvert::dns::testing
