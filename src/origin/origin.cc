#include "origin/origin.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "net/tcp.h"
#include "net/unix_socket.h"
#include "wire/proxy_protocol.h"

namespace culvert::origin {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

// A bundle of all public CAs has 220 KiB.
constexpr size_t kMaxPemFile = 1024 * 1024;

Result<UnixPath> parse_unix_path(std::string_view text) {
  const std::string_view path = text.substr(kUnixPrefix.size());
  const bool is_named = (path.starts_with('/') || path.starts_with('@')) && path.size() > 1;
  if (!is_named || path.contains('\0') || path.contains(',')) {
    return fail(
        ErrorCode::kInvalid,
        "{} is not a unix socket (expected an absolute path without commas, like unix:/run/app.sock, or "
        "an abstract name, like unix:@app)",
        quoted(text));
  }
  if (path.size() > net::kMaxUnixPath) {
    return fail(ErrorCode::kInvalid, "{} is too long for a unix socket, which has {} bytes at most",
                quoted(text), net::kMaxUnixPath);
  }
  return UnixPath{std::string(path)};
}

// What a file contains, and its contribution to the digest of all of them.
Result<std::string> read_pem(std::string_view member, const std::string& file, Bytes& digested) {
  auto content = read_file(file, kMaxPemFile);
  if (!content) {
    return fail(content.error().code, "{} {}: {}; correct the path, or let this user read the file", member,
                quoted(file), content.error().message);
  }
  const Sha256 digest = sha256(*content);
  digested.insert(digested.end(), digest.begin(), digest.end());
  std::string pem(as_text(*content));
  wipe_and_clear(*content);
  return pem;
}

Result<tls::RootsPtr> read_roots(const OriginTls& tls, UnixTime now, Bytes& digested) {
  if (tls.ca_file.empty()) return nullptr;
  auto pem = read_pem("origin_ca_file", tls.ca_file, digested);
  if (!pem) return std::unexpected(pem.error());
  auto roots = tls::load_roots(*pem, now);
  if (roots) return roots;
  return fail(
      ErrorCode::kInvalid,
      "origin_ca_file {}: {}; put the PEM certificate of the CA there that issued the origin's certificate",
      quoted(tls.ca_file), roots.error().message);
}

Result<tls::CredentialsPtr> read_credentials(const OriginTls& tls, UnixTime now, Bytes& digested) {
  if (tls.cert_file.empty()) return nullptr;
  auto chain = read_pem("origin_cert_file", tls.cert_file, digested);
  if (!chain) return std::unexpected(chain.error());
  auto key = read_pem("origin_key_file", tls.key_file, digested);
  if (!key) return std::unexpected(key.error());
  auto credentials = tls::load_credentials(*chain, SecretString::take(std::move(*key)), now);
  if (credentials) return credentials;
  return fail(
      ErrorCode::kInvalid,
      "origin_cert_file {} and origin_key_file {}: {}; give a valid PEM certificate and its unencrypted key",
      quoted(tls.cert_file), quoted(tls.key_file), credentials.error().message);
}

OriginFault not_connected(const Error& error) {
  if (error.code == ErrorCode::kTimeout) {
    return {OriginFault::Kind::kTimeout, error.message,
            "see whether the service there is overloaded, or a firewall drops the packets to it",
            "it did not answer in time"};
  }
  return {OriginFault::Kind::kNotReached, error.message, "start the service there, or correct its origin",
          error.code == ErrorCode::kNotFound ? "it was not found" : "it does not accept connections"};
}

const char* hint(tls::Mistrust mistrust, bool has_ca_file) {
  switch (mistrust) {
    case tls::Mistrust::kExpired:
      return "renew the certificate at the origin; if it is new, set the clock of this machine";
    case tls::Mistrust::kNotYetValid:
      return "set the clock of this machine, or that of the machine which made the certificate";
    case tls::Mistrust::kWrongName:
      return "set origin_server_name to a name of the certificate, or give the origin one for this name";
    case tls::Mistrust::kUnknownIssuer:
      return has_ca_file
                 ? "put the certificate of the CA that issued the origin's into origin_ca_file"
                 : "give the certificate of the CA that issued the origin's as origin_ca_file; only the "
                   "public CAs of this system are trusted without it";
    case tls::Mistrust::kOther:
      return "give the origin a certificate that is valid for TLS servers";
  }
  return "";
}

const char* summary(tls::Mistrust mistrust) {
  switch (mistrust) {
    case tls::Mistrust::kExpired:
      return "its certificate has expired";
    case tls::Mistrust::kNotYetValid:
      return "its certificate is not yet valid";
    case tls::Mistrust::kWrongName:
      return "its certificate is for another name";
    case tls::Mistrust::kUnknownIssuer:
      return "its certificate is of an unknown CA";
    case tls::Mistrust::kOther:
      return "its certificate is not valid";
  }
  return "";
}

OriginFault no_tls(const OriginTls& tls, const tls::ClientResult& result) {
  const Error& error = result.stream.error();
  if (result.mistrust) {
    return {OriginFault::Kind::kNotTrusted, error.message, hint(*result.mistrust, !tls.ca_file.empty()),
            summary(*result.mistrust)};
  }
  if (error.code == ErrorCode::kTimeout) return not_connected(error);
  if (error.code == ErrorCode::kNotFound) {
    return {OriginFault::Kind::kNotReached, error.message,
            "set origin_server_name to a name that the origin serves", "it does not know its name"};
  }
  return {OriginFault::Kind::kNotReached, error.message,
          "see whether the origin speaks TLS at this port, which version, and which certificate it wants; "
          "without "
          "origin_server_name it is spoken to in plaintext",
          "its TLS handshake failed"};
}

net::Task<Result<std::unique_ptr<net::ByteStream>>> connect(net::EventLoop& loop, Origin origin,
                                                            net::ConnectOptions options, TimePoint deadline) {
  if (const auto* unix_path = std::get_if<UnixPath>(&origin.place))
    co_return co_await net::unix_connect(loop, unix_path->path, deadline);
  const auto& place = std::get<HostPort>(origin.place);
  // Nothing to look up, which costs system calls of its own.
  if (const auto address = parse_ip(place.host))
    co_return co_await net::tcp_connect(loop, address->with_port(place.port), deadline, options);
  co_return co_await net::tcp_connect(loop, place.host, place.port, deadline, options);
}

}  // namespace

Result<Origin> Origin::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    auto path = parse_unix_path(text);
    if (!path) return std::unexpected(path.error());
    return Origin{std::move(*path)};
  }
  auto place = parse_host_port(text);
  if (!place) return std::unexpected(place.error());
  return Origin{std::move(*place)};
}

std::string Origin::to_string() const {
  if (const auto* unix_path = std::get_if<UnixPath>(&place))
    return fmt::format("{}{}", kUnixPrefix, unix_path->path);
  return std::get<HostPort>(place).to_string();
}

Result<> load_files(OriginTls& tls, std::vector<std::string> alpn, UnixTime now) {
  Bytes digested;
  auto roots = read_roots(tls, now, digested);
  if (!roots) return std::unexpected(roots.error());
  auto credentials = read_credentials(tls, now, digested);
  if (!credentials) return std::unexpected(credentials.error());
  const bool is_http = std::ranges::find(alpn, "http/1.1") != alpn.end();
  tls.loaded = OriginTls::Loaded{tls::make_client_context({.roots = std::move(*roots),
                                                           .credentials = std::move(*credentials),
                                                           .is_insecure = tls.is_insecure,
                                                           .alpn = std::move(alpn),
                                                           .takes_unclean_end = is_http}),
                                 sha256(digested)};
  return {};
}

net::Task<Reached> reach(net::EventLoop& loop, Origin origin, Bytes before_tls, bool writes_at_once,
                         TimePoint deadline) {
  const net::ConnectOptions options{.writes_at_once = writes_at_once || origin.tls};
  auto stream = co_await connect(loop, origin, options, deadline);
  if (!stream) co_return Reached{nullptr, not_connected(stream.error())};
  if (!origin.tls) co_return Reached{std::move(*stream)};
  CHECK(origin.tls->loaded);
  auto written = co_await net::write_all(**stream, before_tls, deadline);
  if (!written) co_return Reached{nullptr, not_connected(written.error())};
  auto result = co_await tls::connect(std::move(*stream), origin.tls->server_name,
                                      origin.tls->loaded->context, deadline);
  if (!result.stream) co_return Reached{nullptr, no_tls(*origin.tls, result)};
  co_return Reached{std::move(*result.stream)};
}

Result<Bytes> proxy_header(const SocketAddr& client, const SocketAddr& public_addr,
                           const std::string& authority, const std::vector<wire::ProxyTlv>& said) {
  wire::ProxyHeader proxy{.source = client, .destination = public_addr, .tlvs = {}};
  if (!authority.empty()) proxy.tlvs.push_back({wire::kProxyTlvAuthority, to_bytes(as_bytes(authority))});
  for (const wire::ProxyTlv& tlv : said) {
    // The name in the client's own hello chose the route; a proxy may have taken another one from elsewhere.
    const bool is_known = tlv.type == wire::kProxyTlvAuthority && !authority.empty();
    if (!is_known) proxy.tlvs.push_back(tlv);
  }
  return wire::encode_proxy_v2(proxy);
}

}  // namespace culvert::origin
