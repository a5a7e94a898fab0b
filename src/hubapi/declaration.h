#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/result.h"
#include "base/secret.h"
#include "route/hostname.h"
#include "route/match.h"
#include "route/route.h"

// POST /v1/leases: what an agent declares and what the hub answers. JSON both ways; unknown members are
// refused in requests (a typing error must not pass) and ignored in answers (a newer hub may say more).
namespace culvert::hubapi {

constexpr const char* kLeaseTag = "culvert-lease";  // RFC 9421 tag of the tenant's signature
constexpr const char* kAgentTag = "culvert-agent";  // of the agent's, which proves agent_id
constexpr int kDeclarationVersion = 1;

struct DeclaredService {
  route::HostPattern hostname;
  route::TlsMode tls_mode;
  bool operator==(const DeclaredService&) const = default;
};

// A service that is reached at a public TCP or UDP port, or at a range of UDP ports.
struct DeclaredPort {
  route::PortProtocol protocol;
  std::string name;          // what the agent knows it by; no two of one protocol have the same
  uint16_t listen_port = 0;  // 0: the hub picks one, and gives it to this service again later
  uint16_t more_ports = 0;   // of a range: so many follow

  route::PublicPort ports() const { return {protocol, listen_port, more_ports}; }
  bool operator==(const DeclaredPort&) const = default;
};

struct Declaration {
  std::array<uint8_t, 16> invite_id;
  SecretBytes<32> invite_secret;
  EndpointId agent_id;
  std::vector<DeclaredService> services;  // none of these and no ports: only asks what the invite grants
  std::vector<DeclaredPort> ports = {};
  // Ends the leases of the invite's other agents, and keeps them from getting others for as long as this one
  // lasts.
  bool is_exclusive = false;
};

// The longest lifetime of an invite.
constexpr std::chrono::seconds kMaxInviteExpiry = std::chrono::days(3653);

// A declaration over this is refused: more names and ports than one agent has any use for, in a body of 64
// KiB.
constexpr size_t kMaxServices = 256;
constexpr size_t kMaxDeclarationBytes = 64 * 1024;

// kInvalid names the limit that all of these together exceed: their number, or the bytes of a declaration of
// them.
Result<> check_size(const std::vector<DeclaredService>& services, const std::vector<DeclaredPort>& ports);

std::string encode(const Declaration& declaration);
// kConflict: another protocol version, the message names both. kInvalid names the member that is missing,
// unknown, malformed or there twice. It never repeats the secret.
Result<Declaration> decode_declaration(std::string_view json);

struct EdgeInfo {
  EndpointId id;
  std::vector<std::string> addresses;  // "host:port", UDP
  bool operator==(const EdgeInfo&) const = default;
};

struct ServiceVerdict {
  std::string hostname;
  bool accepted;
  std::string reason;  // why not, for people
  // When not: another declaration after this time may be accepted, with nothing changed by anyone.
  std::optional<std::chrono::seconds> retry_after = {};
  size_t others = 0;  // when accepted: further agents of the invite that live and share its connections
  bool operator==(const ServiceVerdict&) const = default;
};

struct PortVerdict {
  route::PortProtocol protocol;
  std::string name;
  uint16_t listen_port;  // 0: refused, and none was asked for
  bool accepted;
  std::string reason = {};                               // as in ServiceVerdict
  std::optional<std::chrono::seconds> retry_after = {};  // as in ServiceVerdict
  size_t others = 0;                                     // as in ServiceVerdict
  uint16_t more_ports = 0;                               // as in DeclaredPort

  route::PublicPort ports() const { return {protocol, listen_port, more_ports}; }
  bool operator==(const PortVerdict&) const = default;
};

struct LeaseAnswer {
  PublicKey tenant;
  std::vector<std::string> granted;  // the invite's patterns
  std::vector<EdgeInfo> edges;
  std::vector<ServiceVerdict> services;
  uint16_t public_port;         // where the public reaches HTTPS
  std::string internal_ca_pem;  // root to check our own certificates with; empty when they are public
  Duration renew_after;         // declare again after this long
  bool is_suspended = false;    // the tenant is: its names are leased, and clients are refused
  std::vector<PortVerdict> ports = {};
  bool operator==(const LeaseAnswer&) const = default;
};

std::string encode(const LeaseAnswer& answer);
Result<LeaseAnswer> decode_lease_answer(std::string_view json);

}  // namespace culvert::hubapi
