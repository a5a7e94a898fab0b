#include "sim/product/operator.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/json.h"

namespace culvert::sim {

net::Task<std::string> Operator::call(std::string method, std::string path, std::string body) {
  while (true) {
    auto answer = co_await client_.call_operator(method, path, body, SecretString(operator_key_));
    if (answer) co_return *answer;
    // What took effect although the answer was lost is done.
    if (answer.error().code == ErrorCode::kNotFound) co_return "";
    co_await net::sleep_for(loop_, std::chrono::milliseconds(500));
  }
}

net::Task<> Operator::invite(std::string hostname, std::optional<std::chrono::seconds> expires_in,
                             std::optional<hubapi::InviteToken>& token) {
  std::string body = fmt::format(R"({{"hostnames":["{}"])", hostname);
  if (expires_in) body += fmt::format(R"(,"expires_in_secs":{})", expires_in->count());
  auto answer = co_await call("POST", "/v1/invites", body + "}");
  auto parsed = parse_json_object("answer", answer).value();
  token = hubapi::parse_invite_token(std::string(parsed.at("token").as_string())).value();
}

net::Task<> Operator::make_edge(std::string name, std::optional<hubapi::EdgeToken>& token) {
  auto answer = co_await call("POST", "/v1/edges", fmt::format(R"({{"name":"{}"}})", name));
  auto parsed = parse_json_object("answer", answer).value();
  token = hubapi::parse_edge_token(std::string(parsed.at("token").as_string())).value();
}

net::Task<> Operator::revoke_edge(std::string name, bool& is_done) {
  co_await call("DELETE", "/v1/edges/" + name, "");
  is_done = true;
}

net::Task<> Operator::revoke(hubapi::InviteToken token, std::optional<TimePoint>& since) {
  co_await call("DELETE", "/v1/invites/" + to_base64url(token.invite_id), "");
  since = loop_.now();
}

}  // namespace culvert::sim
