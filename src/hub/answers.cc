#include "hub/answers.h"

#include <boost/json/serialize.hpp>

namespace culvert::hub {

http::Response json_response(int status, std::string body) {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "application/json");
  response.headers.add("Cache-Control", "no-store");  // tokens must not stay in a proxy
  return response;
}

http::Response error_response(int status, std::string_view code, std::string_view message) {
  boost::json::object body{{"error", {{"code", code}, {"message", message}}}};
  return json_response(status, boost::json::serialize(body));
}

http::Response retry_response(int status, std::string_view code, std::string_view message) {
  http::Response response = error_response(status, code, message);
  response.headers.add("Retry-After", "1");
  return response;
}

}  // namespace culvert::hub
