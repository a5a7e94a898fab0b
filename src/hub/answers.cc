#include "hub/answers.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <utility>

#include "base/text.h"

namespace culvert::hub {

http::Response json_response(int status, std::string body) {
  http::Response response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "application/json");
  response.headers.add("Cache-Control", "no-store");  // tokens must not stay in a proxy
  return response;
}

std::string with_secret(std::string_view member, const SecretString& secret, std::string_view rest) {
  std::string out;
  out.reserve(64 + member.size() + secret.expose().size() + rest.size());
  out.append(R"({"status":"ok",")").append(member).append(R"(":")").append(secret.expose());
  return std::move(out.append("\",").append(rest.substr(1)));
}

http::Response error_response(int status, std::string_view code, std::string_view message) {
  constexpr std::string_view kNextStep = "; ";
  const size_t end = std::min(message.find(kNextStep), message.size());
  boost::json::object error{{"code", code}, {"message", message.substr(0, end)}};
  if (end < message.size()) error["hint"] = message.substr(end + kNextStep.size());
  return json_response(status, boost::json::serialize(boost::json::object{{"error", std::move(error)}}));
}

std::string request_id(const http::Exchange& exchange) {
  const std::string* id = exchange.always.find(kRequestId);
  return id == nullptr ? "-" : culvert::quoted(*id);
}

http::Response retry_response(int status, std::string_view code, std::string_view message) {
  http::Response response = error_response(status, code, message);
  response.headers.add("Retry-After", "1");
  return response;
}

http::Response sign_again_response(const http::ReplayGuard& replays) {
  auto response = error_response(401, "sign_again",
                                 "the request is not signed for this instance of the hub; sign it again at "
                                 "once, for the one that the answer "
                                 "names: a program that does not is too old for this hub");
  response.headers.add(std::string(http::kInstanceField), replays.instance());
  return response;
}

}  // namespace culvert::hub
