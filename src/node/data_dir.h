#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/key.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/socket_addr.h"
#include "node/file_places.h"
#include "tls/tls.h"

// The files of a node. Secrets are mode 0600 and made create-exclusive: two processes that start at once
// agree on them. Each file is created in one step, and a start that ends between two of them leaves a
// directory that the next start completes. Every error names the file and what to do.
namespace culvert::node {

struct DataDir {
  std::filesystem::path path;
  FilePlaces places = {};

  // The 32-byte seed.
  std::filesystem::path node_key() const { return place_or(places.node_key, "node.key"); }
  // 43 characters of base64url.
  std::filesystem::path operator_key() const { return place_or(places.operator_key, "operator.key"); }
  std::filesystem::path database() const { return place_or(places.database, "hub.db"); }
  std::filesystem::path ca_certificate() const { return ca_directory() / "ca.pem"; }
  std::filesystem::path ca_key() const { return ca_directory() / "ca.key"; }
  // The routes of the hub that an edge on its own follows.
  std::filesystem::path routes() const { return place_or(places.routes, "routes.jsonl"); }
  // Accounts with CAs and the certificates that they issued, of an edge with a CA of its own. A hub keeps
  // them in its database.
  std::filesystem::path certificates() const { return path / "certificates"; }
  // Those that its hub gave an edge.
  std::filesystem::path hub_certificates() const { return path / "hub-certificates"; }
  // What other commands on this host need to find the running node: "key = value" lines, no secrets.
  std::filesystem::path info() const { return path / "node.info"; }
  // The same of a running edge that has its hub on another host.
  std::filesystem::path edge_info() const { return path / "edge.info"; }

  // Held by the running node.
  std::filesystem::path lock() const { return path / "lock"; }
  // Where the running node hands over to the next.
  std::filesystem::path hand_over_socket() const { return path / "hand-over"; }

  // Makes the directory when it is missing, and that of the CA. Refuses one that other users may write to.
  Result<> create() const;
  // kConflict while another node uses the directory.
  Result<FileLock> take_lock() const;
  // The same for an SQLite file that is not in the directory, which is locked beside it. nullopt: it is.
  Result<std::optional<FileLock>> take_database_lock() const;
  // Under the lock, before a key is read: removes what an interrupted start left, and the rights of other
  // users to key files, with a warning. kIo when they cannot be removed.
  Result<> secure() const;
  // Refuses a directory that lost its node key but not its database.
  Result<> check_complete() const;
  bool has_database() const;  // that is not empty
  Result<SecretKey> load_or_create_node_key(Random& random) const;
  Result<SecretString> load_or_create_operator_key(Random& random) const;
  // A key without a certificate gets a new one: a first start may have ended between the two, and a root of
  // the same name and key is as good as the lost one.
  Result<std::unique_ptr<tls::InternalCa>> load_or_create_ca(UnixTime now) const;

  struct Info {
    std::vector<std::string> hub_urls;
    PublicKey hub_key;
  };
  // Instead of edge_info().
  Result<> write_info(const Info& info) const;
  Result<Info> read_info() const;

  struct EdgeInfo {
    PublicKey id;
    std::optional<SocketAddr> metrics;  // where it serves its status
  };
  Result<> write_edge_info(const EdgeInfo& info) const;
  Result<EdgeInfo> read_edge_info() const;

 private:
  Result<> check_places() const;
  std::filesystem::path ca_directory() const {
    return places.ca_directory.empty() ? path : places.ca_directory;
  }
  std::filesystem::path place_or(const std::filesystem::path& place, const char* name) const {
    return place.empty() ? path / name : place;
  }
};

}  // namespace culvert::node
