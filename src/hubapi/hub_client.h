#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/secret.h"
#include "http/message.h"
#include "hubapi/declaration.h"
#include "hubapi/hub_clock.h"
#include "hubapi/token.h"
#include "net/byte_stream.h"
#include "net/event_loop.h"

namespace culvert::hubapi {

// What a hub's answer other than 2xx means to its caller: 401, 403, 410 (expired) kUnauthorized; 404
// kNotFound; 409 kConflict; 408, 429 and 5xx kUnavailable; anything else kInvalid. The message is the hub's
// own.
Error error_from_response(int status, std::string_view body);

// A hub's API, as its agents and operators see it: a TLS connection to the holder of the pinned key for each
// call. URLs are tried in order, beginning with the one that served last; names are resolved again on
// each call. A status of 5xx is a hub that cannot serve: the next URL is tried. When none serves the error is
// kUnavailable and lists every URL with its reason.
class HubClient {
 public:
  // `wall_clock` not set: the loop's.
  HubClient(net::EventLoop& loop, std::vector<HubUrl> urls, PublicKey hub_key, WallClock wall_clock = {});
  HubClient(const HubClient&) = delete;
  HubClient& operator=(const HubClient&) = delete;

  // POST /v1/leases, signed with the token's tenant key, and with the agent's where it is given; fresh
  // signatures for every URL tried. They are created by the hub's clock and for its instance
  // (http::ReplayGuard), once an answer told them: a refusal for either is answered by another signature at
  // once, on the same connection, as behind another one may be another hub.
  net::Task<Result<LeaseAnswer>> declare(InviteToken token, Declaration declaration,
                                         std::optional<SecretKey> agent_key = std::nullopt);
  // What HubClock::warning() says, as of the last answer.
  std::optional<std::string> clock_warning() const { return clock_.warning(); }

  // Whether another hub or server answered at every URL of the latest declare(): the token fits none of them.
  bool met_only_others() const { return met_only_others_; }

  // One call of the operator's API; the body of a 2xx answer. `body` is JSON or empty. A POST or DELETE that
  // was sent but not answered, or answered with 5xx, is not repeated elsewhere: it may have taken effect, and
  // the error says so. The next call begins with another URL.
  net::Task<Result<std::string>> call_operator(std::string method, std::string path, std::string body,
                                               SecretString bearer_key);
  // The same as a tenant: signed by its key, with `tag`, by the hub's clock once an answer told it.
  net::Task<Result<std::string>> call_tenant(std::string method, std::string path, std::string body,
                                             SecretKey tenant_key, std::string tag);
  // Whether a hub answered the latest of these calls, be it that it cannot serve.
  bool has_answered() const { return has_answered_; }

 private:
  // Adds to a request what shows who sends it.
  using Authenticate = std::function<void(http::Request& request)>;
  net::Task<Result<std::string>> call(std::string method, std::string path, std::string body,
                                      Authenticate authenticate);
  struct Attempt;
  struct Connected;
  net::Task<Connected> connect(HubUrl url);
  net::Task<Attempt> exchange(net::ByteStream& stream, const HubUrl& url, http::Request request);
  net::Task<Attempt> attempt(HubUrl url, http::Request request);
  net::Task<Attempt> attempt_declaration(size_t index, const InviteToken& token,
                                         const std::optional<SecretKey>& agent_key, const std::string& body);

  net::EventLoop& loop_;
  std::vector<HubUrl> urls_;
  PublicKey hub_key_;
  HubClock clock_;
  std::vector<std::string> instances_;  // of each URL, as its last answer told; empty: not known
  bool met_only_others_ = false;
  bool has_answered_ = false;
  size_t preferred_ = 0;  // index of the URL that served last
};

}  // namespace culvert::hubapi
