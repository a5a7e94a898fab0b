#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/socket_addr.h"
#include "http/message.h"

namespace culvert::http {

// A request on its way to its answer.
struct Exchange {
  Request request;
  SocketAddr client;  // where the request came from
  TimePoint now;      // when it was complete
  std::string rest;   // set by the router: what the '*' of the pattern stands for

  // The target without its query.
  std::string_view path() const {
    return std::string_view(request.target).substr(0, request.target.find('?'));
  }
};

// Finds the handler of a request by its method and path. Paths are compared byte by byte: nothing is decoded
// or normalised, so that two spellings never reach one resource.
class Router {
 public:
  using Handler = std::function<net::Task<Response>(const Exchange&)>;
  // Runs before a handler, for example to authenticate. An answer ends the exchange: the handler is not
  // called.
  using Step = std::function<std::optional<Response>(const Exchange&)>;
  struct Refusals {
    std::function<Response()> not_found;  // 404
    // 405; the router adds the Allow field.
    std::function<Response(std::string_view allowed_methods)> method_not_allowed;
  };

  explicit Router(Refusals refusals) : refusals_(std::move(refusals)) {}

  // `pattern` is a path, or ends with "/*": then any text may follow that slash, none and further slashes
  // included, and Exchange::rest holds it.
  void add(std::string method, std::string pattern, Handler handler, Step before = nullptr);

  // `exchange` and the router outlive the task.
  net::Task<Response> handle(Exchange& exchange) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    Handler handler;
    Step before;
  };

  Refusals refusals_;
  std::vector<Route> routes_;
};

}  // namespace culvert::http
