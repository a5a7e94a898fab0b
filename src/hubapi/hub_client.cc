#include "hubapi/hub_client.h"

#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "http/client.h"
#include "http/date.h"
#include "http/signature.h"
#include "hubapi/hub_connection.h"

namespace culvert::hubapi {
namespace {

ErrorCode code_for_status(int status) {
  switch (status) {
    case 401:
    case 403:
    case 410:
      return ErrorCode::kUnauthorized;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kConflict;
    case 408:
    case 429:
      return ErrorCode::kUnavailable;
    case 507:
      return ErrorCode::kIo;
    default:
      return status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalid;
  }
}

bool is_success(int status) { return status >= 200 && status < 300; }
// Broken or overloaded; another URL may lead to one that is not.
bool cannot_serve(int status) { return status >= 500; }

void add_reason(std::string& reasons, const HubUrl& url, const Error& error) {
  if (!reasons.empty()) reasons += "; ";
  reasons += url.to_string() + ": " + error.message;
}

std::unexpected<Error> none_served(std::string_view reasons, bool answered) {
  return fail(ErrorCode::kUnavailable, "the hub {} ({})",
              answered ? "cannot serve the request now" : "does not answer", reasons);
}

}  // namespace

Error error_from_response(int status, std::string_view body) {
  ErrorCode code = code_for_status(status);
  if (auto answer = parse_json_object("the hub's answer", body)) {
    const boost::json::value* error = answer->if_contains("error");
    const auto text = [&](const char* member) {
      const boost::json::value* value =
          error && error->is_object() ? error->get_object().if_contains(member) : nullptr;
      return value && value->is_string() ? std::string(value->get_string()) : std::string();
    };
    const std::string message = text("message"), hint = text("hint");
    if (!message.empty()) return {code, hint.empty() ? message : message + "; " + hint};
  }
  return {code, fmt::format("the hub answered with status {} and no reason", status)};
}

// One exchange with one URL.
struct HubClient::Attempt {
  bool sent;  // the request may have had its effect
  Result<http::Response> response;
  bool met_another = false;  // another hub or server answered there
};

struct HubClient::Connected {
  std::unique_ptr<net::ByteStream> stream;  // nullptr: there is none, see `failed`
  std::optional<Attempt> failed = {};
};

HubClient::HubClient(net::EventLoop& loop, std::vector<HubUrl> urls, PublicKey hub_key, WallClock wall_clock)
    : loop_(loop),
      urls_(std::move(urls)),
      hub_key_(hub_key),
      clock_(wall_clock ? std::move(wall_clock) : WallClock([&loop] { return loop.unix_now(); })),
      instances_(urls_.size()) {
  CHECK(!urls_.empty());
}

net::Task<HubClient::Connected> HubClient::connect(HubUrl url) {
  auto stream = co_await connect_to_hub(loop_, url, hub_key_, loop_.now() + kHubConnectTime);
  if (stream) co_return Connected{std::move(*stream)};
  const bool met_another = met_another_hub(stream.error());
  co_return Connected{nullptr, Attempt{false, std::unexpected(std::move(stream.error())), met_another}};
}

// `stream` and `url` outlive the call.
net::Task<HubClient::Attempt> HubClient::exchange(net::ByteStream& stream, const HubUrl& url,
                                                  http::Request request) {
  WipeAtEnd wipe_body(request.body);  // a declaration holds the secret of its invite
  const TimePoint asked = loop_.now();
  auto response = co_await http::fetch(stream, host_field(url), std::move(request), asked + kHubExchangeTime);
  const std::string* date = response ? response->headers.find("Date") : nullptr;
  auto hub_time = date ? http::parse_date(*date) : std::nullopt;
  if (hub_time) clock_.learn(*hub_time, asked, loop_.now());
  co_return Attempt{true, std::move(response)};
}

net::Task<HubClient::Attempt> HubClient::attempt(HubUrl url, http::Request request) {
  WipeAtEnd wipe_body(request.body);
  auto connected = co_await connect(url);
  if (connected.failed) co_return std::move(*connected.failed);
  request.headers.add("Connection", "close");
  auto tried = co_await exchange(*connected.stream, url, std::move(request));
  connected.stream->close();
  co_return tried;
}

// The parameters outlive the call.
net::Task<HubClient::Attempt> HubClient::attempt_declaration(size_t index, const InviteToken& token,
                                                             const std::optional<SecretKey>& agent_key,
                                                             const std::string& body) {
  std::string& instance = instances_[index];
  auto connected = co_await connect(urls_[index]);
  if (connected.failed) co_return std::move(*connected.failed);
  for (bool is_first = true;; is_first = false) {
    const UnixTime created = clock_.time_at(loop_.now());
    http::Request request{.method = "POST", .target = "/v1/leases", .headers = {}, .body = body};
    request.headers.add("Content-Type", "application/json");
    if (!instance.empty()) request.headers.add(std::string(http::kInstanceField), instance);
    http::sign_request(request, token.tenant_key, kLeaseTag, created, loop_.random());
    if (agent_key) http::sign_request(request, *agent_key, kAgentTag, created, loop_.random(), "sig2");
    auto tried = co_await exchange(*connected.stream, urls_[index], std::move(request));
    const std::string* named = tried.response ? tried.response->headers.find(http::kInstanceField) : nullptr;
    const bool is_for_another = named != nullptr && *named != instance;
    if (is_for_another) instance = *named;
    const bool was_off = std::chrono::abs(clock_.time_at(loop_.now()) - created) > http::kMaxClockSkew / 2;
    const bool is_refused = tried.response && tried.response->status == 401;
    if (is_first && is_refused && (was_off || is_for_another)) continue;
    connected.stream->close();
    co_return tried;
  }
}

net::Task<Result<LeaseAnswer>> HubClient::declare(InviteToken token, Declaration declaration,
                                                  std::optional<SecretKey> agent_key) {
  std::string body = encode(declaration);
  WipeAtEnd wipe_body(body);
  std::string reasons;
  bool answered = false;
  met_only_others_ = false;
  size_t others = 0;
  size_t first = preferred_;
  for (size_t i = 0; i < urls_.size(); ++i) {
    size_t index = (first + i) % urls_.size();
    auto tried = co_await attempt_declaration(index, token, agent_key, body);
    if (!tried.response) {
      if (tried.met_another) ++others;
      add_reason(reasons, urls_[index], tried.response.error());
      continue;
    }
    const http::Response& response = *tried.response;
    if (cannot_serve(response.status)) {
      answered = true;
      add_reason(reasons, urls_[index], error_from_response(response.status, response.body));
      continue;
    }
    preferred_ = index;
    if (!is_success(response.status)) {
      Error refused = error_from_response(response.status, response.body);
      const bool is_new = declaration.is_exclusive || !declaration.ports.empty();
      if (is_new && refused.code == ErrorCode::kInvalid &&
          refused.message.contains("has an unknown member")) {
        refused.message +=
            "; the hub is older than this agent, which declares TCP or UDP services or is exclusive. Upgrade "
            "the "
            "hub, or leave these out";
      }
      co_return std::unexpected(std::move(refused));
    }
    co_return decode_lease_answer(response.body);
  }
  met_only_others_ = others == urls_.size();
  co_return none_served(reasons, answered);
}

net::Task<Result<std::string>> HubClient::call_operator(std::string method, std::string path,
                                                        std::string body, SecretString bearer_key) {
  co_return co_await call(std::move(method), std::move(path), std::move(body),
                          [key = std::move(bearer_key)](http::Request& request) {
                            request.headers.add("Authorization", "Bearer " + key.expose());
                          });
}

net::Task<Result<std::string>> HubClient::call_tenant(std::string method, std::string path, std::string body,
                                                      SecretKey tenant_key, std::string tag) {
  for (bool is_first = true;; is_first = false) {
    const UnixTime created = clock_.time_at(loop_.now());
    auto answer = co_await call(method, path, body, [&](http::Request& request) {
      http::sign_request(request, tenant_key, tag, clock_.time_at(loop_.now()), loop_.random());
    });
    const bool was_off = std::chrono::abs(clock_.time_at(loop_.now()) - created) > http::kMaxClockSkew / 2;
    const bool is_refused = !answer && answer.error().code == ErrorCode::kUnauthorized;
    if (!is_first || !is_refused || !was_off) co_return answer;
  }
}

net::Task<Result<std::string>> HubClient::call(std::string method, std::string path, std::string body,
                                               Authenticate authenticate) {
  std::string reasons;
  has_answered_ = false;
  bool repeatable = method == "GET" || method == "HEAD";
  size_t first = preferred_;
  for (size_t i = 0; i < urls_.size(); ++i) {
    size_t index = (first + i) % urls_.size();
    http::Request request{.method = method, .target = path, .headers = {}, .body = body};
    if (!body.empty()) request.headers.add("Content-Type", "application/json");
    authenticate(request);
    auto tried = co_await attempt(urls_[index], std::move(request));
    if (!tried.response) {
      add_reason(reasons, urls_[index], tried.response.error());
      if (!tried.sent || repeatable) continue;
      preferred_ = (index + 1) % urls_.size();
      co_return fail(
          ErrorCode::kUnavailable,
          "the hub took the request but its answer was lost ({}); look whether it took effect before "
          "repeating it",
          reasons);
    }
    has_answered_ = true;
    http::Response& response = *tried.response;
    if (cannot_serve(response.status)) {
      Error error = error_from_response(response.status, response.body);
      add_reason(reasons, urls_[index], error);
      if (repeatable) continue;
      preferred_ = (index + 1) % urls_.size();
      co_return std::unexpected(std::move(error));
    }
    preferred_ = index;
    if (!is_success(response.status))
      co_return std::unexpected(error_from_response(response.status, response.body));
    co_return std::move(response.body);
  }
  co_return none_served(reasons, has_answered_);
}

}  // namespace culvert::hubapi
