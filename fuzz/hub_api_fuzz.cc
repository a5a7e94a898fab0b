#include <boost/json/parse.hpp>

#include "base/check.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/signature.h"
#include "hub/api.h"
#include "hub/edge_sessions.h"
#include "hub/ledger.h"
#include "hub/state.h"

using namespace culvert;

namespace {

constexpr const char* kOperatorKey = "key";
constexpr UnixTime kNow{std::chrono::seconds(1'700'000'000)};

// A database in memory that never refuses.
class Store final : public hub::RecordStore {
 public:
  ByteView hash_key() const override { return key_; }
  uint64_t revision() const override { return 0; }
  std::vector<hub::Record> take_records() override { return {}; }
  void commit(uint64_t at, hub::Batch batch, std::function<void(Result<hub::CommitOutcome>)> then) override {
    for (hub::AuditEntry& entry : batch.audit) {
      entry.sequence = audit_.size() + 1;
      audit_.push_back(std::move(entry));
    }
    then(hub::CommitOutcome{.revision = at + 1});
  }
  void read_audit(std::optional<uint64_t> before, size_t limit,
                  std::function<void(Result<std::vector<hub::AuditEntry>>)> then) override {
    std::vector<hub::AuditEntry> out;
    for (auto entry = audit_.rbegin(); entry != audit_.rend() && out.size() < limit; ++entry) {
      if (!before || entry->sequence < *before) out.push_back(*entry);
    }
    then(std::move(out));
  }
  // Nobody else writes.
  void set_on_commit(std::function<void(std::optional<uint64_t>)>) override {}
  void read_newer(uint64_t after, std::function<void(Result<hub::CommitOutcome>)> then) override {
    then(hub::CommitOutcome{.revision = after});
  }
  void close(hub::Batch, std::function<void(Result<hub::CommitOutcome>)>) override {}

 private:
  const Bytes key_ = Bytes(32, 7);
  std::vector<hub::AuditEntry> audit_;
};

class Exchange final : public http::Exchange {
 public:
  explicit Exchange(http::Request whole) : body_(std::exchange(whole.body, {})) {
    request = std::move(whole);
    now = TimePoint(std::chrono::hours(1));
  }
  http::Response response;
  bool answered = false;

  std::optional<uint64_t> body_length() const override { return body_.size(); }
  net::Task<Result<ByteView>> read(TimePoint) override { co_return ByteView(); }
  const http::Headers& trailers() const override { return trailers_; }
  net::Task<Result<>> read_all(size_t cap) override {
    if (body_.size() > cap) co_return fail(ErrorCode::kLimit, "too long");
    request.body = std::exchange(body_, {});
    co_return Result<>();
  }
  net::Task<Result<>> respond(http::Response whole) override {
    CHECK(!std::exchange(answered, true));
    response = std::move(whole);
    answer_status = response.status;
    co_return Result<>();
  }
  net::Task<Result<>> send_interim(int, http::Headers, TimePoint) override { co_return Result<>(); }
  net::Task<Result<>> send_head(int, http::Headers, TimePoint) override { co_return Result<>(); }
  net::Task<Result<>> write(ByteView, TimePoint) override { co_return Result<>(); }
  net::Task<Result<>> end(http::Headers, TimePoint) override { co_return Result<>(); }
  bool has_answered() const override { return answered; }
  void abort() override {}

 private:
  std::string body_;
  http::Headers trailers_;
};

std::string_view take_line(std::string_view& rest, char end) {
  const size_t at = rest.find(end);
  const std::string_view line = rest.substr(0, at);
  rest.remove_prefix(at == rest.npos ? rest.size() : at + 1);
  return line;
}

}  // namespace

// Requests of an operator, and declarations: a method, a blank, a target, a line feed, the body up to the
// next NUL; and so on, to one hub. "SIGN" as a method is a declaration that is signed well.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  set_log_level(LogLevel::kError);
  constexpr int kMaxRequests = 8;
  std::string_view rest = as_text(ByteView(data, size));
  net::EventLoop loop;
  SeededRandom random(1);
  const SecretKey key = SecretKey::generate(random);
  const hub::Config config{.database = {},
                           .operator_key = kOperatorKey,
                           .public_urls = {"https://hub.example"},
                           .key = key,
                           .edges = {},
                           .internal_ca_pem = {},
                           .wall_clock = [] { return kNow; }};
  hub::State state;
  hub::Ledger ledger(loop, std::make_unique<Store>(), state, {});
  const hub::RoutePublisher publisher(key, 1);
  hub::EdgeSessions edge_sessions(loop, publisher, state.leases);
  hub::CertificateFeed certificates(loop, "epoch");
  hub::Api api(config, state, ledger, edge_sessions, certificates, random, [] {});
  for (int i = 0; i < kMaxRequests && !rest.empty(); ++i) {
    std::string_view message = take_line(rest, '\0');
    const std::string_view method = take_line(message, ' ');
    const std::string_view target = take_line(message, '\n');
    // Waiting for what does not come takes real time.
    if (target.contains("wait=")) continue;
    // The stream of an edge does not end.
    if (target.starts_with("/v1/edges/self/routes")) continue;
    const bool is_signed = method == "SIGN";
    http::Request request{.method = std::string(is_signed ? "POST" : method),
                          .target = std::string(is_signed ? "/v1/leases" : target),
                          .headers = {},
                          .body = std::string(message)};
    request.headers.add("Authorization", std::string("Bearer ") + kOperatorKey);
    if (is_signed) {
      request.headers.add(std::string(http::kInstanceField), api.instance());
      http::sign_request(request, key, hubapi::kLeaseTag, kNow, random);
    }
    Exchange exchange(std::move(request));
    api.prepare(exchange);
    net::TaskGroup tasks(loop);
    tasks.spawn(api.handle(exchange));
    while (tasks.size() > 0) CHECK(loop.run_once(loop.now() + std::chrono::seconds(5)));
    api.ended(exchange, exchange.now);
    if (!exchange.answered) continue;  // a body over the cap: the server answers

    const int status = exchange.response.status;
    CHECK((status >= 200 && status < 300) || (status >= 400 && status < 500));
    boost::system::error_code ec;
    const auto body = boost::json::parse(exchange.response.body, ec);
    CHECK(!ec && body.is_object());
    CHECK((status >= 400) == body.as_object().contains("error"));
    if (status >= 400) CHECK(!body.at("error").at("message").as_string().empty());
    CHECK(!exchange.response.body.contains("\"secret_hash\""));
  }
  ledger.close();
  return 0;
}
