#pragma once
#include <cstdint>
#include <map>

#include "base/random.h"
#include "base/rate_limit.h"
#include "http/message.h"
#include "http/signature.h"
#include "hub/hub.h"
#include "hub/leases.h"
#include "hub/store.h"

namespace culvert::hub {

// The error envelope {"error":{"code","message"}} that every failure answers with.
http::Response error_response(int status, std::string_view code, std::string_view message);

// The hub's HTTP API, sans-I/O: a request and the time in, an answer out; effects are in the store and the
// leases.
class Api {
 public:
  // Declarations for each invite: a restarting fleet of replicas at once, then twice what renewals of 30
  // need.
  static constexpr uint32_t kDeclareBurst = 20;
  static constexpr Duration kDeclareInterval = std::chrono::seconds(1);
  static constexpr size_t kMaxHostnames = 100;  // of one invite
  static constexpr size_t kMaxNameLength = 64;
  static constexpr std::chrono::seconds kMaxExpiry = std::chrono::days(3653);

  struct Counters {
    uint64_t declarations = 0;    // accepted
    uint64_t bad_signatures = 0;  // of declarations, and wrong keys, secrets, replays
    uint64_t rate_limited = 0;
    uint64_t bad_bearers = 0;
  };

  // All must outlive it.
  Api(const Config& config, Store& store, Leases& leases, Random& random);

  http::Response handle(const http::Request& request, TimePoint now);
  const Counters& counters() const { return counters_; }

 private:
  http::Response health() const;
  http::Response declare(const http::Request& request, TimePoint now);
  http::Response create_invite(const http::Request& request, TimePoint now);
  http::Response list_invites(const http::Request& request, TimePoint now);
  http::Response revoke_invite(std::string_view id_text, TimePoint now);

  http::Response store_failure(const Error& error, TimePoint now);
  bool is_operator(const http::Request& request, TimePoint now);
  bool allow_declaration(const InviteId& invite, TimePoint now);
  http::Response refuse_declaration(int status, std::string_view code, std::string_view message,
                                    TimePoint now);

  const Config& config_;
  Store& store_;
  Leases& leases_;
  Random& random_;
  http::ReplayGuard replays_;
  std::map<InviteId, RateLimit> declare_limits_;  // entries only for invites whose secret was shown
  RateLimit bearer_log_;
  RateLimit signature_log_;
  RateLimit store_log_;
  Counters counters_;
};

}  // namespace culvert::hub
