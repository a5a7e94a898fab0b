#include <cstdlib>

#include "base/check.h"
#include "hubapi/edge_api.h"
#include "hubapi/route_replica.h"

using namespace culvert;

namespace {

// Seals of the corpus are of this hub.
const PublicKey& hub_key() {
  static const PublicKey key = SecretKey::from_seed(Bytes(SecretKey::kSize, 1))->public_key();
  return key;
}

}  // namespace

// Lines of a hub, and what an edge says to it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(ByteView(data, size));
  hubapi::RouteReplica replica(hub_key());
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const route::SnapshotPtr before = replica.routes();
    auto event = replica.take(line);
    // Routes change by a seal, and by nothing else.
    if (replica.routes() != before && (!event || !replica.is_at_seal())) std::abort();
    if (auto decoded = hubapi::decode_stream_line(line); decoded && *decoded) {
      auto again = hubapi::decode_stream_line(hubapi::encode(**decoded));
      if (!again || *again != *decoded) std::abort();
    }
    if (auto route = hubapi::decode_route(line)) {
      auto again = hubapi::decode_route(hubapi::encode_route(*route));
      if (!again || *again != *route) std::abort();
    }
    if (!event) break;
  }
  if (auto held = hubapi::decode_held_routes(text); held && held->encode() != text) std::abort();
  if (auto report = hubapi::decode_tunnel_report(text)) {
    auto again = hubapi::decode_tunnel_report(hubapi::encode(*report));
    if (!again || *again != *report) std::abort();
  }
  if (auto announcement = hubapi::decode_edge_announcement(text)) {
    auto again = hubapi::decode_edge_announcement(hubapi::encode(*announcement));
    if (!again || *again != *announcement) std::abort();
  }
  return 0;
}
