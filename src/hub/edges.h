#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/key.h"
#include "base/result.h"
#include "hub/record.h"
#include "hubapi/declaration.h"
#include "hubapi/edge_api.h"

namespace culvert::hub {

// An edge that runs on its own, with a token of this hub.
struct Edge {
  EndpointId id;
  std::string name;    // unique
  std::string region;  // may be empty
  UnixTime created_at;
  std::optional<hubapi::EdgeAnnouncement> announced = std::nullopt;  // its last one

  bool is_dialled() const { return announced && !announced->is_leaving; }
};

// The edges with a token that was not revoked. Sans-I/O.
class Edges {
 public:
  static constexpr std::string_view kKind = "edge";
  static constexpr size_t kMax = 1000;
  static constexpr size_t kMaxNameLength = 64;

  // Called with the id of each edge that was added, changed or removed.
  void set_listener(std::function<void(const EndpointId&)> listener) { listener_ = std::move(listener); }

  // A record of kKind, as it is in the database from now on. One that is damaged is no edge.
  void apply(const Record& record);
  // nullptr: there is none.
  const Edge* find(const EndpointId& id) const;
  const Edge* find_name(std::string_view name) const;
  const std::map<EndpointId, Edge>& all() const { return edges_; }
  // What agents are told to dial.
  std::vector<hubapi::EdgeInfo> dialled() const;
  // The roots of the certificates that these make, one after the other.
  std::string internal_ca_pem() const;

  // What adds the edge. Errors: kConflict, the name is in use; kLimit, there are kMax.
  Result<Record> add(const Edge& edge) const;
  // What puts `changed` in the place of the edge with its id. Errors: kNotFound; kConflict as add().
  Result<Record> change(const Edge& changed) const;
  // kNotFound: there is none.
  Result<Record> remove(const EndpointId& id) const;

 private:
  std::map<EndpointId, Edge> edges_;
  std::map<std::string, EndpointId, std::less<>> names_;
  std::function<void(const EndpointId&)> listener_;
};

// Its members but the certificate, as JSON.
std::string edge_json(const Edge& edge);

}  // namespace culvert::hub
