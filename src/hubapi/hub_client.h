#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/random.h"
#include "http/message.h"
#include "hubapi/declaration.h"
#include "hubapi/token.h"
#include "net/event_loop.h"

namespace culvert::hubapi {

// What a hub's answer other than 2xx means to its caller: 401, 403, 410 (expired) kUnauthorized; 404
// kNotFound; 409 kConflict; 408, 429 and 5xx kUnavailable; anything else kInvalid. The message is the hub's
// own.
Error error_from_response(int status, std::string_view body);

// A hub's API, as its agents and operators see it: one request, one TLS connection to whoever holds the
// pinned key. URLs are tried in order, beginning with the one that served last; names are resolved anew on
// each call. A status of 5xx is a hub that cannot serve: the next URL is tried. When none serves the error is
// kUnavailable and lists every URL with its reason.
class HubClient {
 public:
  HubClient(net::EventLoop& loop, std::vector<HubUrl> urls, PublicKey hub_key,
            WallClock wall_clock = unix_now);
  HubClient(const HubClient&) = delete;
  HubClient& operator=(const HubClient&) = delete;

  // POST /v1/leases, signed with the token's tenant key; a fresh signature for every URL tried.
  net::Task<Result<LeaseAnswer>> declare(InviteToken token, Declaration declaration);

  // One call of the operator's API; the body of a 2xx answer. `body` is JSON or empty. A POST or DELETE that
  // was sent but not answered, or answered with 5xx, is not repeated elsewhere: it may have taken effect, and
  // the error says so. The next call begins with another URL.
  net::Task<Result<std::string>> call_operator(std::string method, std::string path, std::string body,
                                               std::string bearer_key);

 private:
  struct Attempt;
  net::Task<Attempt> attempt(HubUrl url, http::Request request);

  net::EventLoop& loop_;
  std::vector<HubUrl> urls_;
  PublicKey hub_key_;
  WallClock wall_clock_;
  SystemRandom random_;
  size_t preferred_ = 0;  // index of the URL that served last
};

}  // namespace culvert::hubapi
