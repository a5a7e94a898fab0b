#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acme/options.h"
#include "base/clock.h"
#include "base/key.h"
#include "base/metrics.h"
#include "base/reload.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/settings.h"
#include "base/socket_addr.h"
#include "edge/options.h"
#include "hub/store_options.h"
#include "hub/tenant_limits.h"
#include "hubapi/token.h"
#include "node/dns_challenges.h"
#include "node/file_places.h"
#include "ops/options.h"

namespace culvert::node {

// What one process does.
enum class Roles : uint8_t { kHubAndEdge, kHub, kEdge };
const char* to_string(Roles roles);  // "hub,edge", "hub", "edge"
std::optional<Roles> parse_roles(std::string_view text);

struct Config {
  Roles roles = Roles::kHubAndEdge;
  std::optional<hubapi::EdgeToken> edge_token = std::nullopt;  // of an edge without a hub
  std::filesystem::path data_dir;        // keys, database, internal CA; made when missing
  FilePlaces places = {};                // of files that are not in the data directory
  SecretString database_url = {};        // PostgreSQL; empty: an SQLite file
  std::vector<std::string> public_urls;  // empty: https://<first address of this host>:<tcp port>
  std::vector<std::string>
      edge_addrs;  // "host:port" for the tunnel's UDP; empty: host of the first URL, the UDP port
  hub::StoreOptions store = {};
  hub::TenantRules tenants = {};
  edge::Options edge = {};
  acme::Options acme = {};
  DnsOptions dns = {};
  ops::Options ops = {};
  // Called on the thread that runs the node, for a call of its API. Not set: it cannot.
  Reload reload = nullptr;
  // Takes over from the node that runs with this data directory: without a refused connection.
  bool takes_over = false;
  // Called on the thread that runs the node, when clients are served.
  std::function<void()> on_serving = nullptr;
};

// The files above the first section, and the sections [hub], [edge], [acme], [dns] and [metrics], without
// [hub] for an edge alone. The data directory, the roles and the edge's token are not among them.
void describe(SettingsBuilder& settings, Config& config);
// The series of a node, all of them zero: for the reference.
void describe_metrics(Metrics& metrics);

// kInvalid: a static route that such a node cannot serve.
Result<> check_routes(const Config& config);

// Hub and edge in one process, the default on one VPS, or one of them alone.
class Node {
 public:
  // Makes what is missing in the data directory, binds everything, answers when done; one that takes over
  // gets what is bound from the process before it, which goes on as if nothing had been when this ends with
  // an error, or before run() serves. Errors name the file, address or setting; kConflict, kNotFound: there
  // is nothing to take over, or the running node refuses.
  static Result<std::unique_ptr<Node>> start(Config config);
  virtual ~Node() = default;

  // Serves on the calling thread and the workers' until stop(). stop() may be called from any thread; a
  // second call skips the drain. Errors: the process before this one has taken its work back or ended, and
  // this one has not served.
  virtual Result<> run() = 0;
  virtual void stop() = 0;

  // Takes over what may change while it runs (Setting::may_change); on the thread that runs it.
  virtual void reconfigure(const Config& wanted) = 0;
  // The configuration was read again at a signal: the hub's audit log says so. On the thread that runs it.
  virtual void note_reload(ReloadReport report) = 0;
  // Has `work` done on the thread that runs it; from any thread.
  virtual void post(std::function<void()> work) = 0;

  virtual const PublicKey& id() const = 0;
  virtual SocketAddr tcp_addr() const = 0;  // with the port that was taken
  virtual SocketAddr udp_addr() const = 0;
  virtual std::optional<SocketAddr> metrics_addr() const = 0;
  // Of the hub; none without one.
  virtual const std::vector<std::string>& public_urls() const = 0;
};

// What `culvert invite` and `culvert ca` need to find a node on this host: the files of its data directory.
struct LocalNode {
  std::vector<std::string> hub_urls;  // as the running node wrote them
  PublicKey hub_key;
  std::optional<SecretString> operator_key;  // nullopt: it is not in the data directory
};
// kNotFound: no node ever started there (the message says how to start one).
Result<LocalNode> find_local_node(const std::filesystem::path& data_dir);
// What `culvert status` needs to find an edge on this host that has its hub elsewhere.
struct LocalEdge {
  PublicKey id;
  std::optional<SocketAddr> metrics;  // where it serves GET /status; nullopt: it was told to serve it nowhere
};
// nullopt: the last that was started there was no such edge.
Result<std::optional<LocalEdge>> find_local_edge(const std::filesystem::path& data_dir);
// An operator key that is kept in a file, here or copied from another host.
Result<SecretString> read_operator_key(const std::filesystem::path& path);
// The internal CA's root certificate, PEM.
Result<std::string> read_internal_root(const std::filesystem::path& data_dir, const FilePlaces& places = {});

}  // namespace culvert::node
