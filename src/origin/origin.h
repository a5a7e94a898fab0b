#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/host_port.h"
#include "net/byte_stream.h"
#include "tls/tls.h"
#include "wire/proxy_tlvs.h"

namespace culvert::origin {

// A unix socket: a file, or "@name" in the abstract namespace.
struct UnixPath {
  std::string path;
  bool operator==(const UnixPath&) const = default;
};

// TLS between agent and origin.
struct OriginTls {
  std::string server_name;  // that is asked for, and that the certificate must be for
  bool is_insecure = false;
  std::string ca_file = {};                   // empty: the roots of the system
  std::string cert_file = {}, key_file = {};  // both or neither: what the agent shows to the origin

  // What the files contained.
  struct Loaded {
    tls::ClientContextPtr context;
    Sha256 content;
    bool operator==(const Loaded& other) const { return content == other.content; }
  };
  std::optional<Loaded> loaded = {};  // by load_files()
  bool operator==(const OriginTls&) const = default;
};

// Where the connections of a service go.
struct Origin {
  std::variant<HostPort, UnixPath> place;
  std::optional<OriginTls> tls = {};

  // "localhost:3000", "[::1]:3000", "unix:/run/app.sock", "unix:@app". kInvalid says what is wrong.
  static Result<Origin> parse(std::string_view text);
  // As parse() takes it.
  std::string to_string() const;
  bool operator==(const Origin&) const = default;
};

// Reads the files of `tls` and keeps what they contain for the connections to come, which speak `alpn` and,
// if that is HTTP/1.1, may end without close_notify. Errors name the member, the file, what is wrong with it
// at `now`, and what to do.
Result<> load_files(OriginTls& tls, std::vector<std::string> alpn, UnixTime now);

// Why an origin was not reached.
struct OriginFault {
  enum class Kind {
    kNotReached,  // no connection, or TLS failed with it
    kTimeout,
    kNotTrusted,  // by its certificate
    kBadAnswer,   // to a health check
  };
  Kind kind;
  std::string reason;
  std::string hint;     // what the operator can do
  std::string summary;  // the reason for the public: without addresses, names and paths
};
struct Reached {
  std::unique_ptr<net::ByteStream> stream;  // nullptr: `fault`
  std::optional<OriginFault> fault = {};
};

// Connects: to a name by all of its addresses, which are asked for again once DNS lets them expire (RFC
// 8305). With TLS the bytes of `before_tls` go first; without it the caller `writes_at_once`, or the origin
// is the one that may begin. Files are loaded.
net::Task<Reached> reach(net::EventLoop& loop, Origin origin, Bytes before_tls, bool writes_at_once,
                         TimePoint deadline);

// The PROXY v2 header of a client's connection. `authority`: the hostname that it asked for (PROXY protocol,
// 2.2.2); empty: it named none. `said`: by a proxy in front of the edge, as wire::forwarded_tlvs() leaves it;
// its authority is written only where there is no other. kInvalid: the hostname does not fit.
Result<Bytes> proxy_header(const SocketAddr& client, const SocketAddr& public_addr,
                           const std::string& authority, const std::vector<wire::ProxyTlv>& said);

}  // namespace culvert::origin
