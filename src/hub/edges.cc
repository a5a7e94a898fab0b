#include "hub/edges.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

Result<Edge> read(const EndpointId& id, std::string_view text) {
  constexpr std::string_view kWhat = "the edge's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  Edge edge{.id = id,
            .name = std::string(reader.text("name")),
            .region = std::string(reader.text("region")),
            .created_at = reader.time("created_at")};
  if (reader.error()) return std::unexpected(*reader.error());
  if (const json::value* announced = body->if_contains("announced")) {
    auto decoded = hubapi::decode_edge_announcement(json::serialize(*announced));
    if (!decoded) return std::unexpected(decoded.error());
    edge.announced = std::move(*decoded);
  }
  return edge;
}

Record record_of(const Edge& edge) {
  json::object body{{"name", edge.name},
                    {"region", edge.region},
                    {"created_at", edge.created_at.time_since_epoch().count()}};
  if (edge.announced) body["announced"] = json::parse(hubapi::encode(*edge.announced));
  return {.kind = std::string(Edges::kKind), .key = edge.id.to_string(), .body = json::serialize(body)};
}

std::unexpected<Error> unknown_edge(const EndpointId& id) {
  return fail(ErrorCode::kNotFound, "there is no edge {}; `culvert edge list` shows all", id.to_string());
}

}  // namespace

void Edges::apply(const Record& record) {
  const auto id = PublicKey::parse(record.key);
  if (!id) return log_error("hub_record_damaged", "kind={} key={}", kKind, culvert::quoted(record.key));
  if (const auto old = edges_.find(*id); old != edges_.end()) {
    names_.erase(old->second.name);
    edges_.erase(old);
  }
  if (record.body) {
    auto edge = read(*id, *record.body);
    if (!edge) {
      log_error("hub_record_damaged", "kind={} key={} reason={}", kKind, culvert::quoted(record.key),
                culvert::quoted(edge.error().message));
    } else {
      names_.emplace(edge->name, *id);
      edges_.emplace(*id, std::move(*edge));
    }
  }
  if (listener_) listener_(*id);
}

const Edge* Edges::find(const EndpointId& id) const {
  const auto edge = edges_.find(id);
  return edge == edges_.end() ? nullptr : &edge->second;
}

const Edge* Edges::find_name(std::string_view name) const {
  const auto id = names_.find(name);
  return id == names_.end() ? nullptr : find(id->second);
}

std::vector<hubapi::EdgeInfo> Edges::dialled() const {
  std::vector<hubapi::EdgeInfo> infos;
  for (const auto& [id, edge] : edges_) {
    if (edge.is_dialled()) infos.push_back({id, edge.announced->addresses});
  }
  return infos;
}

std::string Edges::internal_ca_pem() const {
  std::string pem;
  for (const auto& [id, edge] : edges_) {
    if (edge.is_dialled()) pem += edge.announced->internal_ca_pem;
  }
  return pem;
}

Result<Record> Edges::add(const Edge& edge) const {
  if (find_name(edge.name) != nullptr) {
    return fail(ErrorCode::kConflict, "there is an edge called {} already; revoke it, or choose another name",
                culvert::quoted(edge.name));
  }
  if (edges_.size() >= kMax)
    return fail(ErrorCode::kLimit, "there are {} edges, the most this hub keeps; revoke some", kMax);
  return record_of(edge);
}

Result<Record> Edges::change(const Edge& changed) const {
  if (find(changed.id) == nullptr) return unknown_edge(changed.id);
  const Edge* same_name = find_name(changed.name);
  if (same_name != nullptr && same_name->id != changed.id) {
    return fail(ErrorCode::kConflict, "there is an edge called {} already; choose another name",
                culvert::quoted(changed.name));
  }
  return record_of(changed);
}

Result<Record> Edges::remove(const EndpointId& id) const {
  if (find(id) == nullptr) return unknown_edge(id);
  return Record{.kind = std::string(kKind), .key = id.to_string(), .body = std::nullopt};
}

std::string edge_json(const Edge& edge) {
  json::object body{{"edge_id", edge.id.to_string()},
                    {"name", edge.name},
                    {"region", edge.region},
                    {"created_at", edge.created_at.time_since_epoch().count()}};
  json::array addresses;
  if (edge.announced) {
    for (const std::string& address : edge.announced->addresses) addresses.push_back(json::string(address));
    body["version"] = edge.announced->version;
  }
  body["addresses"] = std::move(addresses);
  return json::serialize(body);
}

}  // namespace culvert::hub
