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

EdgeClient::EdgeClient(net::EventLoop& loop, const EdgeToken& token, std::string run)
    : loop_(loop),
      urls_(parse_hub_urls(token.hub_urls)),
      hub_key_(token.hub_key),
      key_(token.edge_key),
      run_(std::move(run)),
      clock_([&loop] { return loop.unix_now(); }) {
  CHECK(!urls_.empty());
}

EdgeClient::~EdgeClient() = default;

void EdgeClient::close() {
  is_closed_ = true;
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

bool EdgeClient::learn(const http::ResponseHead& head, TimePoint asked, UnixTime created) {
  const std::string* date = head.headers.find("Date");
  auto hub_time = date ? http::parse_date(*date) : std::nullopt;
  if (hub_time) clock_.learn(*hub_time, asked, loop_.now());
  const bool was_off = std::chrono::abs(clock_.time_at(loop_.now()) - created) > http::kMaxClockSkew / 2;
  const std::string* named = head.headers.find(http::kInstanceField);
  const bool is_for_another = named != nullptr && *named != instance_;
  if (is_for_another) instance_ = *named;
  return head.status == kUnauthorized && (was_off || is_for_another);
}

net::Task<Result<EdgeClient::Answer>> EdgeClient::exchange_signed(Connection& connection, std::string method,
                                                                  std::string target, std::string body,
                                                                  size_t max_answer) {
  for (bool is_first = true;; is_first = false) {
    const TimePoint asked = loop_.now();
    const UnixTime created = clock_.time_at(asked);
    http::Request request{.method = method, .target = target, .headers = {}, .body = body};
    request.headers.add("Host", host_field(connection.url));
    if (!body.empty()) request.headers.add("Content-Type", "application/json");
    request.headers.add(std::string(kEdgeRunField), run_);
    if (!instance_.empty()) request.headers.add(std::string(http::kInstanceField), instance_);
    http::sign_request(request, key_, kEdgeTag, created, loop_.random());
    const TimePoint deadline = asked + kHubExchangeTime;
    auto sent = co_await connection.client.send(std::move(request), deadline);
    if (!sent) co_return std::unexpected(sent.error());
    auto head = co_await connection.client.read_head(deadline);
    if (!head) co_return std::unexpected(head.error());
    const bool sign_again = learn(*head, asked, created);
    if (head->status == kOk && method == "GET") co_return Answer{kOk, ""};
    auto answer = co_await connection.client.read_all(max_answer, deadline);
    if (!answer) co_return std::unexpected(answer.error());
    if (is_first && sign_again && connection.client.is_reusable()) continue;
    co_return Answer{head->status, std::move(*answer)};
  }
}

// A connection that was kept may have ended meanwhile: once more then.
net::Task<Result<std::string>> EdgeClient::ask(std::string method, std::string target, std::string body,
                                               size_t max_answer) {
  while (true) {
    if (is_closed_) co_return fail(ErrorCode::kClosed, "the edge ends");
    const bool is_fresh = !kept_ || !kept_->client.is_reusable();
    if (is_fresh) {
      auto made = co_await connect();
      if (!made) co_return std::unexpected(made.error());
      kept_ = std::move(*made);
    }
    const std::shared_ptr<Connection> connection = kept_;
    auto answer = co_await exchange_signed(*connection, method, target, body, max_answer);
    if (answer && answer->status == kOk) co_return std::move(answer->body);
    if (answer) co_return std::unexpected(error_of(answer->status, answer->body));
    if (kept_ == connection) kept_ = nullptr;
    if (!is_fresh) continue;
    preferred_ = (preferred_ + 1) % urls_.size();
    co_return fail(ErrorCode::kUnavailable, "{}: {}", connection->url.to_string(), answer.error().message);
  }
}

net::Task<Result<EdgeWelcome>> EdgeClient::announce(EdgeAnnouncement announcement) {
  auto answer = co_await ask("PUT", "/v1/edges/self", encode(announcement));
  if (!answer) co_return std::unexpected(answer.error());
  co_return decode_edge_welcome(*answer);
}

net::Task<Result<>> EdgeClient::report(TunnelReport report) {
  auto answer = co_await ask("POST", "/v1/edges/self/tunnels", encode(report));
  if (!answer) co_return std::unexpected(answer.error());
  co_return Result<>();
}

net::Task<Result<CertificateUpdate>> EdgeClient::certificates(CertificateRequest request) {
  auto answer = co_await ask("POST", "/v1/edges/self/certificates", encode(request), http::kMaxResponseBytes);
  if (!answer) co_return std::unexpected(answer.error());
  co_return decode_certificate_update(SecretString::take(std::move(*answer)));
}

net::Task<Result<>> EdgeClient::follow(std::optional<HeldRoutes> held,
                                       std::function<Result<>(std::string_view)> on_line) {
  auto made = co_await connect();
  if (!made) co_return std::unexpected(made.error());
  const std::shared_ptr<Connection> connection = std::move(*made);
  following_ = connection;
  const std::string target =
      held ? fmt::format("/v1/edges/self/routes?have={}", held->encode()) : "/v1/edges/self/routes";
  auto answer = co_await exchange_signed(*connection, "GET", target, "", kMaxAnswer);
  if (!answer) {
    co_return fail(ErrorCode::kUnavailable, "{}: {}", connection->url.to_string(), answer.error().message);
  }
  if (answer->status != kOk) co_return std::unexpected(error_of(answer->status, answer->body));
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
