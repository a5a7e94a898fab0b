#include "net/signals.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>

namespace culvert::net {

Task<int> wait_for_stop_signal(EventLoop& loop) {
  boost::asio::basic_signal_set<Executor> signals(loop.context(), SIGINT, SIGTERM);
  const auto [error, number] =
      co_await signals.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable_t<Executor>{}));
  co_return number;
}

}  // namespace culvert::net
