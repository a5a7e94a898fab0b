#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/key.h"
#include "base/result.h"
#include "route/delta.h"
#include "route/route.h"

// What a hub sends to an edge on GET /v1/edges/self/routes, and what the edge keeps on its disk: lines of
// JSON.
//
//     {"type":"snapshot","routes":2}             or {"type":"delta","routes":2,"removals":["a.example.com"]}
//     {"match":"b.example.com",...}              as many as were announced, complete
//     {"match":"tcp/2222",...}
//     {"type":"seal","epoch":...,"version":...,"routes":...,"digest":...,"signature":...}
//
// A seal ends a batch: the hub signs the version that it makes, and the digest of all routes of it. A seal
// without a batch gives the same routes another version. Between batches: {"type":"alive"} and
// {"type":"declare"}.
namespace culvert::hubapi {

constexpr std::string_view kEdgeTag = "culvert-edge";  // RFC 9421 tag of an edge's requests
constexpr std::string_view kRouteStreamType = "application/x-ndjson";
constexpr size_t kMaxRouteLine = 256 * 1024;  // one that is longer is damaged

// A state of a hub's routes. Versions of one epoch, a start of one hub, follow each other.
struct RoutesVersion {
  uint64_t epoch = 0;
  uint64_t version = 0;
  auto operator<=>(const RoutesVersion&) const = default;
};

// What an edge says that it has, as the query of its request: "EPOCH.VERSION.DIGEST" in hex, decimal, hex.
struct HeldRoutes {
  RoutesVersion at;
  Sha256 digest;
  std::string encode() const;
  bool operator==(const HeldRoutes&) const = default;
};
Result<HeldRoutes> decode_held_routes(std::string_view text);

struct Seal {
  RoutesVersion at;
  uint64_t routes = 0;  // how many there are
  Sha256 digest{};
  Signature signature{};

  static Seal make(const SecretKey& hub_key, RoutesVersion at, uint64_t routes, const Sha256& digest);
  bool is_signed_by(const PublicKey& hub_key) const;
  bool operator==(const Seal&) const = default;
};

struct SnapshotHead {
  uint64_t routes = 0;
  bool operator==(const SnapshotHead&) const = default;
};
struct DeltaHead {
  uint64_t routes = 0;
  std::vector<std::string> removals;  // ids of routes
  bool operator==(const DeltaHead&) const = default;
};
// The hub is there.
struct Alive {
  bool operator==(const Alive&) const = default;
};
// The edges have changed: agents are to declare again, each at a moment of its own within `spread`.
struct DeclareAgain {
  Duration spread;
  bool operator==(const DeclareAgain&) const = default;
};

using StreamLine = std::variant<SnapshotHead, DeltaHead, Seal, Alive, DeclareAgain>;

// Without the end of the line.
std::string encode(const StreamLine& line);
// kInvalid: damaged. A type that is not known is nullopt: a newer hub may say more.
Result<std::optional<StreamLine>> decode_stream_line(std::string_view text);

// One route: the same text for the same route, on which digests depend.
std::string encode_route(const route::Route& route);
// kInvalid. Members that are not known are ignored.
Result<route::Route> decode_route(std::string_view text);

}  // namespace culvert::hubapi
