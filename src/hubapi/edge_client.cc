#include "hubapi/edge_client.h"

#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "http/date.h"
#include "http/signature.h"
#include "hubapi/hub_client.h"
#include "hubapi/hub_connection.h"

namespace culvert::hubapi {
namespace {

constexpr size_t kMaxAnswer = 64 * 1024;
constexpr int kOk = 200;
constexpr int kUnauthorized = 401;

// The hub's answer names the reason apart from the status.
bool says_unknown_edge(std::string_view body) {
  auto answer = parse_json_object("the hub's answer", body);
  if (!answer) return false;
  const boost::json::value* error = answer->if_contains("error");
  if (error == nullptr || !error->is_object()) return false;
  const boost::json::value* code = error->get_object().if_contains("code");
  return code != nullptr && code->is_string() && code->get_string() == "unknown_edge";
}

Error error_of(int status, std::string_view body) {
  Error error = error_from_response(status, body);
  if (status == kUnauthorized && says_unknown_edge(body)) error.code = ErrorCode::kNotFound;
  return error;
}

}  // namespace

struct EdgeClient::Connection {
  Connection(HubUrl its_url, std::unique_ptr<net::ByteStream> its_stream)
      : url(std::move(its_url)), stream(std::move(its_stream)), client(*stream) {}
  ~Connection() { stream->close(); }

  HubUrl url;
  std::unique_ptr<net::ByteStream> stream;
  http::Client client;
};

EdgeClient::EdgeClient(net::EventLoop& loop, const EdgeToken& token)
    : loop_(loop),
      urls_(parse_hub_urls(token.hub_urls)),
      hub_key_(token.hub_key),
      key_(token.edge_key),
      clock_([&loop] { return loop.unix_now(); }) {
  CHECK(!urls_.empty());
}

EdgeClient::~EdgeClient() = default;

void EdgeClient::close() {
  if (kept_) kept_->stream->close();
  if (following_) following_->stream->close();
}

net::Task<Result<std::shared_ptr<EdgeClient::Connection>>> EdgeClient::connect() {
  std::string reasons;
  const size_t first = preferred_;
  for (size_t i = 0; i < urls_.size(); ++i) {
    const size_t index = (first + i) % urls_.size();
    auto stream = co_await connect_to_hub(loop_, urls_[index], hub_key_, loop_.now() + kHubConnectTime);
    if (stream) {
      preferred_ = index;
      co_return std::make_shared<Connection>(urls_[index], std::move(*stream));
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", urls_[index].to_string(),
                           stream.error().message);
  }
  co_return fail(ErrorCode::kUnavailable, "the hub does not answer ({})", reasons);
}

http::Request EdgeClient::sign(std::string method, std::string target, const std::string& body) {
  http::Request request{
      .method = std::move(method), .target = std::move(target), .headers = {}, .body = body};
  if (!body.empty()) request.headers.add("Content-Type", "application/json");
  http::sign_request(request, key_, kEdgeTag, clock_.time_at(loop_.now()), loop_.random());
  return request;
}

net::Task<Result<http::ResponseHead>> EdgeClient::exchange(Connection& connection, http::Request request) {
  const TimePoint asked = loop_.now();
  const TimePoint deadline = asked + kHubExchangeTime;
  request.headers.add("Host", host_field(connection.url));
  auto sent = co_await connection.client.send(std::move(request), deadline);
  if (!sent) co_return std::unexpected(sent.error());
  auto head = co_await connection.client.read_head(deadline);
  if (head) learn(*head, asked);
  co_return head;
}

void EdgeClient::learn(const http::ResponseHead& head, TimePoint asked) {
  const std::string* date = head.headers.find("Date");
  auto hub_time = date ? http::parse_date(*date) : std::nullopt;
  if (hub_time) clock_.learn(*hub_time, asked, loop_.now());
}

// A connection that was kept may have ended meanwhile, and a signature may have had the wrong time: once more
// then.
net::Task<Result<>> EdgeClient::ask(std::string method, std::string target, std::string body) {
  for (bool is_first = true;; is_first = false) {
    const bool is_fresh = !kept_ || !kept_->client.is_reusable();
    std::shared_ptr<Connection> connection = std::exchange(kept_, nullptr);
    if (is_fresh) {
      auto made = co_await connect();
      if (!made) co_return std::unexpected(made.error());
      connection = std::move(*made);
    }
    const UnixTime created = clock_.time_at(loop_.now());
    kept_ = connection;
    auto head = co_await exchange(*connection, sign(method, target, body));
    auto answer = head ? co_await connection->client.read_all(kMaxAnswer, loop_.now() + kHubExchangeTime)
                       : Result<std::string>(std::unexpected(head.error()));
    if (!answer) {
      if (kept_ == connection) kept_ = nullptr;
      if (!is_fresh && is_first) continue;
      preferred_ = (preferred_ + 1) % urls_.size();
      co_return fail(ErrorCode::kUnavailable, "{}: {}", connection->url.to_string(), answer.error().message);
    }
    if (head->status == kOk) co_return Result<>();
    const bool was_off = std::chrono::abs(clock_.time_at(loop_.now()) - created) > http::kMaxClockSkew / 2;
    if (head->status == kUnauthorized && is_first && was_off) continue;
    co_return std::unexpected(error_of(head->status, *answer));
  }
}

net::Task<Result<>> EdgeClient::announce(EdgeAnnouncement announcement) {
  co_return co_await ask("PUT", "/v1/edges/self", encode(announcement));
}

net::Task<Result<>> EdgeClient::report(TunnelReport report) {
  co_return co_await ask("POST", "/v1/edges/self/tunnels", encode(report));
}

net::Task<Result<>> EdgeClient::follow(std::optional<HeldRoutes> held,
                                       std::function<Result<>(std::string_view)> on_line) {
  auto made = co_await connect();
  if (!made) co_return std::unexpected(made.error());
  const std::shared_ptr<Connection> connection = std::move(*made);
  following_ = connection;
  const std::string target =
      held ? fmt::format("/v1/edges/self/routes?have={}", held->encode()) : "/v1/edges/self/routes";
  auto head = co_await exchange(*connection, sign("GET", target, ""));
  if (!head)
    co_return fail(ErrorCode::kUnavailable, "{}: {}", connection->url.to_string(), head.error().message);
  if (head->status != kOk) {
    auto body = co_await connection->client.read_all(kMaxAnswer, loop_.now() + kHubExchangeTime);
    co_return std::unexpected(error_of(head->status, body.value_or("")));
  }
  std::string pending;
  while (true) {
    auto piece = co_await connection->client.read(loop_.now() + kStreamSilence);
    if (!piece)
      co_return fail(ErrorCode::kUnavailable, "{}: {}", connection->url.to_string(), piece.error().message);
    if (piece->empty()) co_return fail(ErrorCode::kUnavailable, "the hub has ended the stream of routes");
    pending += as_text(*piece);
    size_t begin = 0;
    for (size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n', begin)) {
      auto taken = on_line(std::string_view(pending).substr(begin, end - begin));
      if (!taken) co_return taken;
      begin = end + 1;
    }
    pending.erase(0, begin);
    if (pending.size() > kMaxRouteLine)
      co_return fail(ErrorCode::kInvalid, "a line of the routes is longer than {} bytes", kMaxRouteLine);
  }
}

}  // namespace culvert::hubapi
