#include "net/signals.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>

namespace culvert::net {
namespace {

// nohup asks for this: the program is to outlive its terminal.
bool is_ignored(int number) {
  struct sigaction action{};
  return sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

StopSignals::StopSignals(EventLoop& loop) : signals_(loop.context(), SIGINT, SIGTERM) {
  if (!is_ignored(SIGHUP)) signals_.add(SIGHUP);
}

Task<int> StopSignals::next() {
  while (true) {
    const auto [error, number] =
        co_await signals_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable_t<Executor>{}));
    if (error || number != SIGHUP || !is_stopping_) {
      is_stopping_ = true;
      co_return number;
    }
  }
}

}  // namespace culvert::net
