#pragma once
#include <list>
#include <string>
#include <vector>

#include "dns/txt_publisher.h"

namespace culvert::dns {

struct ExecHookOptions {
  std::string program;  // an absolute path
  // "NAME=value", beside PATH and LANG: all that the program gets of an environment.
  std::vector<std::string> environment = {};
  Duration timeout = std::chrono::minutes(2);  // for one run
};

// Publishes through a program of the operator's, for providers with an interface of their own:
//
//   PROGRAM add|remove NAME VALUE
//
// NAME is without a final dot. VALUE may begin with a hyphen. The program returns when the value is stored,
// with exit status 0; what it prints is told with its failure. Runs follow one another, as most such programs
// do not expect to run twice at the same time.
class ExecHook final : public TxtPublisher {
 public:
  // Runs that wait for the one under way.
  static constexpr size_t kMaxWaiting = 64;

  // kInvalid: the path is not absolute, or leads to no program that this user may run.
  static Result<std::unique_ptr<ExecHook>> make(net::EventLoop& loop, ExecHookOptions options);

  // Errors name the program and quote its output: kUnavailable when it failed, kTimeout when it was killed at
  // its deadline, kLimit when too many wait, kIo when it could not be started, kInvalid for a wrong value.
  net::Task<Result<>> put(Name name, std::string value) override;
  net::Task<Result<>> remove(Name name, std::string value) override;

 private:
  ExecHook(net::EventLoop& loop, ExecHookOptions options)
      : loop_(loop), options_(std::move(options)), changed_(loop) {}

  struct Place;
  struct Turn;

  net::Task<Result<>> run_in_turn(std::string action, Name name, std::string value);
  net::Task<Result<>> run(std::string action, Name name, std::string value);

  net::EventLoop& loop_;
  const ExecHookOptions options_;
  bool is_running_ = false;
  std::list<const Place*> waiting_;  // the first one is the next
  net::Notify changed_;
};

}  // namespace culvert::dns
