#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "hub/live_status.h"
#include "hubapi/route_stream.h"

namespace culvert::node {

// What an edge that has its hub on another host tells its operator of itself at one moment.
struct EdgeStatus {
  enum class Hub : uint8_t { kFollowed, kAway, kRefused, kRevoked };

  std::string version = {};  // of the program
  std::string id = {};
  std::string name = {};    // as the hub said last; empty: it has not answered since the start
  std::string region = {};  // the same
  UnixTime started{};
  std::vector<std::string> addresses = {};  // at which agents dial it
  std::vector<std::string> hub_urls = {};
  Hub hub = Hub::kAway;
  std::optional<UnixTime> hub_since = std::nullopt;  // when that became so; nullopt: at the start
  std::string hub_reason = {};  // why it is not followed, if there was an answer or an error
  size_t routes = 0;
  std::optional<hubapi::RoutesVersion> routes_version = std::nullopt;  // nullopt: it has never got any
  std::optional<UnixTime> routes_as_of = std::nullopt;  // when the hub was heard last with these routes
  bool are_routes_kept = true;                          // on the disk, for a restart without the hub
  std::vector<std::string> warnings = {};               // of ports and certificates
  size_t certificates = 0;                              // of public CAs, that it serves
  std::optional<UnixTime> first_expiry = std::nullopt;  // of these
  size_t tunnels = 0;
  size_t connections = 0;  // public ones, open now
  hub::LiveStatus live = {};
  std::vector<std::string> stuck = {};  // workers that do not answer
};

// What is wrong and what to do about it, a sentence each; none: all is well. An edge whose hub is away serves
// the routes that it has all the same.
std::vector<std::string> faults_of(const EdgeStatus& status);
// A JSON object with these members, and those of faults_of().
std::string to_json(const EdgeStatus& status);

}  // namespace culvert::node
