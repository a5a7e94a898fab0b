#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "base/random.h"
#include "base/rate_limit.h"
#include "base/socket_addr.h"
#include "http/message.h"
#include "http/signature.h"
#include "hub/hub.h"
#include "hub/leases.h"
#include "hub/store.h"
#include "hubapi/declaration.h"

namespace culvert::hub {

// The error envelope {"error":{"code","message"}} that every failure answers with.
http::Response error_response(int status, std::string_view code, std::string_view message);

// The hub's HTTP API, sans-I/O: a request and the time in, an answer out; effects are in the store and the
// leases.
class Api {
 public:
  // Declarations of agents without a lease, for each invite: all that it may have at once, as after a restart
  // of the hub. Renewals are not among them: each lease has a rate of its own (Leases::kRenewBurst), so that
  // no number of agents can make another lose its lease.
  static constexpr uint32_t kDeclareBurst = Leases::kMaxPerInvite;
  static constexpr Duration kDeclareInterval = std::chrono::milliseconds(250);
  // Refused declarations from each source (SocketAddr::source_prefix): past them, what comes from there is
  // refused before its signature is verified and the database read. Agents that hold a lease are exempt. Two
  // fleets may stand behind one address, and refused agents ask every few minutes.
  static constexpr uint32_t kSourceBurst = 2 * Leases::kMaxPerInvite;
  static constexpr Duration kSourceInterval = std::chrono::milliseconds(250);
  static constexpr size_t kMaxSources = 4096;
  static constexpr size_t kMaxHostnames = 100;  // of one invite
  static constexpr size_t kMaxNameLength = 64;

  struct Counters {
    uint64_t declarations = 0;    // accepted
    uint64_t bad_signatures = 0;  // of declarations, and wrong keys, secrets, replays
    uint64_t rate_limited = 0;    // of an invite or a lease
    uint64_t source_limited = 0;  // of a source, without a look at the signature
    uint64_t bad_bearers = 0;
  };

  // All must outlive it.
  Api(const Config& config, Store& store, Leases& leases, Random& random);

  // `client` is where the request came from. Every answer carries the hub's time (Date).
  http::Response handle(const http::Request& request, const SocketAddr& client, TimePoint now);
  const Counters& counters() const { return counters_; }
  size_t counted_sources() const { return source_limits_.size(); }

 private:
  http::Response answer(const http::Request& request, const SocketAddr& client, TimePoint now);
  http::Response health() const;
  http::Response declare(const http::Request& request, const SocketAddr& client, TimePoint now);
  http::Response judge_declaration(const http::Request& request, const hubapi::Declaration& declaration,
                                   TimePoint now);
  http::Response create_invite(const http::Request& request, TimePoint now);
  http::Response list_invites(const http::Request& request, TimePoint now);
  http::Response revoke_invite(std::string_view id_text, TimePoint now);
  void end_invite(const InviteId& id);

  http::Response store_failure(const Error& error, TimePoint now);
  bool is_operator(const http::Request& request, TimePoint now);
  bool allow_declaration(const InviteId& invite, const EndpointId& agent, TimePoint now);
  bool allow_source(const SocketAddr& client, TimePoint now);
  void count_refusal(const SocketAddr& client, TimePoint now);
  http::Response refuse_declaration(int status, std::string_view code, std::string_view message,
                                    TimePoint now);

  const Config& config_;
  Store& store_;
  Leases& leases_;
  Random& random_;
  http::ReplayGuard replays_;
  std::map<InviteId, RateLimit> declare_limits_;  // entries only for invites whose secret was shown
  std::unordered_map<std::string, RateLimit> source_limits_;  // by prefix; only of those that were refused
  RateLimit source_log_;
  RateLimit bearer_log_;
  RateLimit signature_log_;
  RateLimit store_log_;
  Counters counters_;
};

}  // namespace culvert::hub
