#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/key.h"
#include "base/secret.h"
#include "net/byte_stream.h"
#include "tls/certificate_request.h"

// TLS over TCP with OpenSSL 3: the server side for terminated routes and the hub, the client side for the
// hub's API and for origins.
namespace culvert::tls {

// A certificate chain with its private key, ready to be served. Shared and immutable.
class Identity;
using IdentityPtr = std::shared_ptr<const Identity>;

// Certificates made here.
//
// The internal CA: an ECDSA P-256 root with pathlen 0 that signs leaves. PEM in, PEM out; storage is the
// caller's.
class InternalCa {
 public:
  struct Pem {
    std::string certificate;
    SecretString private_key;
  };
  // A new root, valid 10 years from `now`. `name` goes into the subject.
  static Pem create(std::string_view name, UnixTime now);
  // A new certificate for the key of an existing root, as create() makes it. Leaves that chain to an older
  // one with the same name chain to this one, and the reverse. kInvalid: not an unencrypted PEM key.
  static Result<Pem> certify(std::string_view name, const SecretString& private_key, UnixTime now);
  // kInvalid says which part is broken, or that the two do not belong together.
  static Result<std::unique_ptr<InternalCa>> load(const Pem& pem);
  ~InternalCa();

  const std::string& certificate_pem() const;
  // A leaf with a fresh P-256 key for one DNS name (may be a wildcard) or IP literal: serverAuth, valid 90
  // days from an hour before `now`. The identity carries leaf and root.
  Result<IdentityPtr> issue(std::string_view name, UnixTime now) const;
  // A leaf in PEM for the key and the names of a request: serverAuth, without a subject, valid from
  // `not_before` to `not_after`, or to the end of the root. kInvalid: the root has expired by `not_before`.
  Result<std::string> issue(const CertificateRequest& request, UnixTime not_before, UnixTime not_after) const;

 private:
  struct Impl;
  explicit InternalCa(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A self-signed certificate over an Ed25519 key, valid 10 years: what a peer that pins the key checks.
Result<IdentityPtr> self_signed_identity(const SecretKey& key, std::string_view name, UnixTime now);

// The self-signed certificate that answers the challenge tls-alpn-01 for one hostname (RFC 8737, 3), over a
// fresh P-256 key; `digest` is the SHA-256 of the key authorization. Serve it by accept() with kAcmeAlpn
// alone, and end the connection after the handshake. kInvalid: not a hostname.
inline constexpr const char* kAcmeAlpn = "acme-tls/1";
Result<IdentityPtr> acme_challenge_identity(std::string_view name, const Sha256& digest, UnixTime now);
// The other side: looks, as a CA does, whether the server of this hostname answers so. Errors: kUnauthorized
// (it shows something else; the message says what), others as connect().
net::Task<Result<>> check_acme_challenge(std::unique_ptr<net::ByteStream> transport, std::string name,
                                         Sha256 digest, TimePoint deadline);

// An identity in DER, as QUIC takes it.
struct DerIdentity {
  std::vector<Bytes> chain;  // leaf first
  Bytes key;                 // secret
};
DerIdentity to_der(const Identity& identity);

// When the leaf of this identity stops being valid.
UnixTime not_after(const Identity& identity);

// What a server does with a client that offers protocols by ALPN, but none of ours.
enum class NoCommonAlpn : uint8_t {
  kRefuse,         // the alert no_application_protocol (RFC 7301, 3.2)
  kServeUnlessH2,  // serves it without ALPN, as if it had offered nothing; refuses one that offers only h2
};

// Serves TLS 1.2 and 1.3 over `transport`. `received` are bytes already read
// from it: the ClientHello. ALPN: the first of `alpn` that the client offers; empty `alpn` ignores the
// extension. Errors: kTimeout, kInvalid (TLS alert or garbage; message says which), kReset. On error the
// transport is closed.
net::Task<Result<std::unique_ptr<net::ByteStream>>> accept(std::unique_ptr<net::ByteStream> transport,
                                                           Bytes received, IdentityPtr identity,
                                                           std::vector<std::string> alpn, TimePoint deadline,
                                                           NoCommonAlpn no_common = NoCommonAlpn::kRefuse);

// On a stream of accept() that speaks HTTP/1 by its ALPN: an end without close_notify reads as kEof from here
// on, not as kError. Many clients end so, and an HTTP/1 request says itself where it ends (RFC 9112, 6.3):
// one that was cut short stays incomplete for its reader. Nothing changes where the protocol is not known,
// and the answer is false.
bool take_unclean_end_of_http(net::ByteStream& stream);

// What a stream of accept() agreed on with its client.
struct Negotiated {
  std::string version;  // as OpenSSL names it: "TLSv1.3"
  std::string alpn;     // empty: none
};
Negotiated negotiated(net::ByteStream& stream);

// How a client decides whom it talks to.
struct ClientTrust {
  // The server's leaf must hold exactly this Ed25519 key; nothing else is checked.
  std::optional<PublicKey> pinned_key;
  // Otherwise: the chain must end in these PEM roots, or in those of the system, and cover `server_name`.
  std::string root_pem;
  // The roots that OpenSSL finds (on Debian /etc/ssl/certs, or where SSL_CERT_FILE and SSL_CERT_DIR say), as
  // they are at the time of the handshake.
  bool system_roots = false;
};

// Whether a text can be ClientTrust::root_pem. kInvalid: it holds no PEM certificate.
Result<> check_roots(const std::string& pem);

// kUnauthorized when the server is not the expected one, kNotFound when it knows no such name; others as
// accept.
net::Task<Result<std::unique_ptr<net::ByteStream>>> connect(std::unique_ptr<net::ByteStream> transport,
                                                            std::string server_name, ClientTrust trust,
                                                            TimePoint deadline);

// Certificates that a client trusts. Shared and immutable.
class Roots;
using RootsPtr = std::shared_ptr<const Roots>;
// All certificates of a PEM text. kInvalid: there is none, one is broken, or all have expired.
Result<RootsPtr> load_roots(const std::string& pem, UnixTime now);

// What a client shows to a server that asks for a certificate. Shared and immutable.
class Credentials;
using CredentialsPtr = std::shared_ptr<const Credentials>;
// A PEM chain, leaf first, and the unencrypted PEM key of the leaf. kInvalid says which of them is broken,
// that they do not belong together, or that the leaf has expired.
Result<CredentialsPtr> load_credentials(const std::string& chain_pem, const SecretString& key_pem,
                                        UnixTime now);

struct ClientOptions {
  RootsPtr roots = nullptr;              // nullptr: those of the system, where OpenSSL looks for them
  CredentialsPtr credentials = nullptr;  // nullptr: no certificate is shown
  bool is_insecure = false;              // the server's certificate is not checked at all
  std::vector<std::string> alpn = {};    // offered in this order; none: no ALPN
  // An end without close_notify reads as kEof, as after take_unclean_end_of_http(): for HTTP/1 only.
  bool takes_unclean_end = false;
};

// Prepared once for many connections, because it takes longer than a handshake. Shared and immutable.
class ClientContext;
using ClientContextPtr = std::shared_ptr<const ClientContext>;
ClientContextPtr make_client_context(const ClientOptions& options);

// Why a server's certificate is not accepted.
enum class Mistrust : uint8_t { kExpired, kNotYetValid, kWrongName, kUnknownIssuer, kOther };

struct ClientResult {
  Result<std::unique_ptr<net::ByteStream>> stream;
  std::optional<Mistrust> mistrust = {};  // with kUnauthorized
};
// Asks for `server_name`, a DNS name or an IP address, and expects a certificate for it unless the context is
// insecure. Errors as those of connect() above; the message of kUnauthorized says what the certificate has.
net::Task<ClientResult> connect(std::unique_ptr<net::ByteStream> transport, std::string server_name,
                                ClientContextPtr context, TimePoint deadline);

// A fatal TLS alert as a plaintext record, for refusals before any handshake (RFC 8446, 6).
enum class Alert : uint8_t { kDecodeError = 50, kInternalError = 80, kUnrecognizedName = 112 };
Bytes alert_record(Alert alert);

}  // namespace culvert::tls
