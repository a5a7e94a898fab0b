#include "hubapi/route_stream.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::hubapi {
namespace {

namespace json = boost::json;

// More than any hub keeps in memory.
constexpr int64_t kMaxRoutes = 10'000'000;
constexpr int64_t kMaxSpread = 24 * 3600 * 1000;

std::string epoch_text(uint64_t epoch) { return fmt::format("{:016x}", epoch); }

std::optional<uint64_t> parse_epoch(std::string_view text) {
  auto bytes = from_hex(text);
  if (!bytes || bytes->size() != sizeof(uint64_t)) return std::nullopt;
  uint64_t epoch = 0;
  for (uint8_t byte : *bytes) epoch = epoch << 8 | byte;
  return epoch;
}

std::string statement(const Seal& seal) {
  return fmt::format("culvert-routes-1 {} {} {} {}", epoch_text(seal.at.epoch), seal.at.version, seal.routes,
                     to_hex(seal.digest));
}

json::object to_object(const SnapshotHead& head) { return {{"type", "snapshot"}, {"routes", head.routes}}; }
json::object to_object(const DeltaHead& head) {
  json::array removals;
  for (const std::string& id : head.removals) removals.push_back(json::string(id));
  return {{"type", "delta"}, {"routes", head.routes}, {"removals", std::move(removals)}};
}
json::object to_object(const Seal& seal) {
  return {{"type", "seal"},
          {"epoch", epoch_text(seal.at.epoch)},
          {"version", seal.at.version},
          {"routes", seal.routes},
          {"digest", to_base64url(seal.digest)},
          {"signature", to_base64url(seal.signature)}};
}
json::object to_object(const Alive&) { return {{"type", "alive"}}; }
json::object to_object(const DeclareAgain& declare) {
  return {{"type", "declare"},
          {"spread_ms", std::chrono::duration_cast<std::chrono::milliseconds>(declare.spread).count()}};
}

// Each is left out where the tenant has none of its own.
struct OwnLimit {
  const char* name;
  uint32_t route::OwnLimits::* member;
};
constexpr OwnLimit kOwnLimits[] = {
    {"max_connections", &route::OwnLimits::connections},
    {"max_new_connections", &route::OwnLimits::connections_per_second},
    {"max_bandwidth", &route::OwnLimits::bytes_per_second},
    {"max_udp_flows", &route::OwnLimits::udp_flows},
};

}  // namespace

std::string HeldRoutes::encode() const {
  return fmt::format("{}.{}.{}", epoch_text(at.epoch), at.version, to_hex(digest));
}

Result<HeldRoutes> decode_held_routes(std::string_view text) {
  const auto wrong = [] {
    return fail(ErrorCode::kInvalid,
                "it is not EPOCH.VERSION.DIGEST: 16 hex digits, a number, 64 hex digits");
  };
  const size_t first = text.find('.'), last = text.rfind('.');
  if (first == text.npos || first == last) return wrong();
  const auto epoch = parse_epoch(text.substr(0, first));
  const auto version = whole_number<uint64_t>(text.substr(first + 1, last - first - 1));
  const auto digest = from_hex(text.substr(last + 1));
  if (!epoch || !version || !digest || digest->size() != std::tuple_size_v<Sha256>) return wrong();
  HeldRoutes held{.at = {*epoch, *version}, .digest = {}};
  std::ranges::copy(*digest, held.digest.begin());
  return held;
}

Seal Seal::make(const SecretKey& hub_key, RoutesVersion at, uint64_t routes, const Sha256& digest) {
  Seal seal{.at = at, .routes = routes, .digest = digest};
  seal.signature = hub_key.sign(as_bytes(statement(seal)));
  return seal;
}

bool Seal::is_signed_by(const PublicKey& hub_key) const {
  return hub_key.verify(as_bytes(statement(*this)), signature);
}

std::string encode(const StreamLine& line) {
  return std::visit([](const auto& each) { return json::serialize(to_object(each)); }, line);
}

Result<std::optional<StreamLine>> decode_stream_line(std::string_view text) {
  constexpr std::string_view kWhat = "a line of the routes";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader(kWhat, *object);
  const std::string_view type = reader.text("type");
  std::optional<StreamLine> line;
  const auto count = [&] { return static_cast<uint64_t>(reader.integer("routes", 0, kMaxRoutes)); };
  if (type == "snapshot") {
    line = SnapshotHead{count()};
  } else if (type == "delta") {
    DeltaHead head{.routes = count(), .removals = reader.texts("removals")};
    line = std::move(head);
  } else if (type == "seal") {
    const auto epoch = parse_epoch(reader.text("epoch"));
    if (!epoch) reader.set_error("epoch", "is not 16 hex digits");
    Seal seal{.at = {epoch.value_or(0), static_cast<uint64_t>(reader.integer("version", 0, INT64_MAX))},
              .routes = count(),
              .digest = reader.bytes<std::tuple_size_v<Sha256>>("digest"),
              .signature = reader.bytes<std::tuple_size_v<Signature>>("signature")};
    line = seal;
  } else if (type == "alive") {
    line = Alive{};
  } else if (type == "declare") {
    line = DeclareAgain{std::chrono::milliseconds(reader.integer("spread_ms", 0, kMaxSpread))};
  }
  if (reader.error()) return std::unexpected(*reader.error());
  return line;
}

std::string encode_route(const route::Route& route) {
  json::array agents;
  for (const route::Target& target : route.targets) {
    if (const EndpointId* agent = target.agent()) agents.push_back(json::string(agent->to_string()));
  }
  json::object body{{"match", route.match.text()},
                    {"tenant", route.tenant.to_string()},
                    {"suspended", route.is_suspended},
                    {"agents", std::move(agents)}};
  if (route.tls_mode) body["tls_mode"] = route::to_string(*route.tls_mode);
  if (!route.service.empty()) body["service"] = route.service;
  for (const OwnLimit& limit : kOwnLimits) {
    if (const uint32_t most = route.own_limits.*limit.member; most != 0) body[limit.name] = most;
  }
  if (route.ends_at) body["ends_at"] = route.ends_at->time_since_epoch().count();
  return json::serialize(body);
}

Result<route::Route> decode_route(std::string_view text) {
  constexpr std::string_view kWhat = "a route";
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader(kWhat, *object);
  auto match = route::Match::parse(reader.text("match"));
  const std::string_view mode_text = reader.optional_text("tls_mode");
  const auto mode = route::parse_tls_mode(mode_text);
  const std::string_view service = reader.optional_text("service");
  route::OwnLimits own_limits;
  for (const OwnLimit& limit : kOwnLimits) {
    if (reader.has(limit.name))
      own_limits.*limit.member = static_cast<uint32_t>(reader.integer(limit.name, 0, UINT32_MAX));
  }
  std::optional<UnixTime> ends_at;
  if (reader.has("ends_at")) ends_at = reader.time("ends_at");
  const auto tenant = reader.key("tenant");
  const bool is_suspended = reader.boolean("suspended");
  std::vector<route::Target> targets;
  for (const std::string& agent : reader.texts("agents")) {
    auto key = PublicKey::parse(agent);
    if (!key) return fail(ErrorCode::kInvalid, "{}: agent {}", kWhat, key.error().message);
    targets.push_back({*key});
  }
  if (reader.error()) return std::unexpected(*reader.error());
  if (!match) return fail(ErrorCode::kInvalid, "{}: {}", kWhat, match.error().message);
  if (!mode && !mode_text.empty()) return fail(ErrorCode::kInvalid, "{}: its TLS mode is not known", kWhat);
  return route::Route{.match = std::move(*match),
                      .tenant = *tenant,
                      .tls_mode = mode,
                      .targets = std::move(targets),
                      .is_suspended = is_suspended,
                      .service = std::string(service),
                      .own_limits = own_limits,
                      .ends_at = ends_at};
}

}  // namespace culvert::hubapi
