#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace culvert::http {

// Finds the handler of a request by its method and path. Paths are compared byte by byte: nothing is decoded
// or normalised, so that two spellings never reach one resource.
class Router {
 public:
  using Handler = std::function<net::Task<>(Exchange&)>;
  // Runs before a handler and before the request's body is read, for example to authenticate
  // (Exchange::user). An answer ends the exchange: the handler is not called.
  using Step = std::function<std::optional<Response>(Exchange&)>;
  struct Refusals {
    std::function<Response()> not_found;  // 404
    // 405; the router adds the Allow field.
    std::function<Response(std::string_view allowed_methods)> method_not_allowed;
  };

  explicit Router(Refusals refusals) : refusals_(std::move(refusals)) {}

  // `pattern` is a path, or ends with "/*": then any text may follow that slash, none and further slashes
  // included, and Exchange::rest holds it.
  void add(std::string method, std::string pattern, Handler handler, Step before = nullptr);

  struct Entry {
    std::string method;
    std::string pattern;
  };
  std::vector<Entry> entries() const;

  // `exchange` and the router outlive the task.
  net::Task<> handle(Exchange& exchange) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    Handler handler;
    Step before;
  };

  // The route of an exchange, with its rest set; otherwise `refusal` is what it is told.
  const Route* find(Exchange& exchange, Response& refusal) const;

  Refusals refusals_;
  std::vector<Route> routes_;
};

}  // namespace culvert::http
