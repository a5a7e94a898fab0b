#pragma once
#include <string>

#include "http/headers.h"

namespace culvert::http {

// Messages with their bodies in memory, for what is small: our own API.
struct Request {
  std::string method;
  std::string target;  // origin form: "/v1/leases?x=y"
  Headers headers;
  std::string body;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// What fetch() takes of an answer's body (http/client.h): an operator's listing is the longest we ask for.
constexpr size_t kMaxResponseBytes = 4 * 1024 * 1024;

}  // namespace culvert::http
