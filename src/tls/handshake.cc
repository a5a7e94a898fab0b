#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/socket_addr.h"
#include "base/text.h"
#include "tls/stream.h"

namespace culvert::tls {
namespace {

// Runs the handshake to its end.
net::Task<Result<>> shake_hands(Stream& stream, TimePoint deadline) {
  const std::string peer = stream.peer_text();
  for (;;) {
    const net::IoStatus status = stream.try_handshake();
    if (status == net::IoStatus::kOk) co_return Result<>();
    if (status == net::IoStatus::kEof || (status == net::IoStatus::kError && stream.transport_failed())) {
      co_return fail(ErrorCode::kReset, "TLS handshake with {}: {}", peer, stream.last_error());
    }
    if (status == net::IoStatus::kError) {
      const ErrorCode code = stream.name_refused() ? ErrorCode::kNotFound : ErrorCode::kInvalid;
      co_return fail(code, "TLS handshake with {}: {}", peer, stream.last_error());
    }
    const bool ready = co_await wait_ready(stream.transport(), status, deadline);
    if (!ready) co_return fail(ErrorCode::kTimeout, "TLS handshake with {} took too long", peer);
  }
}

// The Ed25519 key of the certificate the server showed, if it is one.
std::optional<PublicKey> ed25519_key(const X509* certificate) {
  const EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate) : nullptr;
  std::array<uint8_t, PublicKey::kSize> raw;
  size_t size = raw.size();
  if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) return std::nullopt;
  if (EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != raw.size()) return std::nullopt;
  auto parsed = PublicKey::from_bytes(raw);
  return parsed ? std::optional(*parsed) : std::nullopt;
}

// What the verify callback compares with, and what it found. The proof that the server holds the key is its
// signature over the handshake, which TLS checks.
struct Pin {
  PublicKey expected;
  std::string found;
};

int verify_pin(X509_STORE_CTX* store, void* argument) {
  auto* pin = static_cast<Pin*>(argument);
  const auto key = ed25519_key(X509_STORE_CTX_get0_cert(store));
  if (key == pin->expected) return 1;
  pin->found = key ? key->to_string() : "not an Ed25519 key";
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
  return 0;
}

Result<> add_roots(X509_STORE* store, const std::string& pem) {
  const auto roots = parse_certificates(pem);
  if (!roots) return fail(ErrorCode::kInvalid, "the trusted roots: {}", roots.error().message);
  for (const X509Ptr& root : *roots) CHECK(X509_STORE_add_cert(store, root.get()) == 1);
  return {};
}

void expect_name(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param,
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (parse_ip(name)) {
    CHECK(X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) == 1);
  } else {
    CHECK(X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) == 1);
  }
}

// What is wrong with the chain of a server, found while its handshake runs.
struct Distrust {
  std::optional<Mistrust> kind = {};
  std::string reason = {};
};

Mistrust mistrust_of(int verify_error) {
  switch (verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return Mistrust::kExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return Mistrust::kNotYetValid;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return Mistrust::kWrongName;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return Mistrust::kUnknownIssuer;
    default:
      return Mistrust::kOther;
  }
}

// A server chooses how many names its certificate has, and how long they are.
constexpr int kMaxNamesShown = 5;
constexpr size_t kMaxNameShown = 253;

// "a.test, 192.0.2.1": what a certificate is for.
std::string names_of(X509* certificate) {
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string text;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    if (i == kMaxNamesShown) {
      text += ", ...";
      break;
    }
    int type = 0;
    const auto* value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type));
    const ByteView raw(ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value)));
    std::string name = "a name of another kind";
    if (type == GEN_DNS) name = std::string(as_text(raw.first(std::min(raw.size(), kMaxNameShown))));
    if (type == GEN_IPADD && raw.size() == 4) {
      name = SocketAddr::v4({raw[0], raw[1], raw[2], raw[3]}, 0).ip_text();
    } else if (type == GEN_IPADD && raw.size() == 16) {
      std::array<uint8_t, 16> ip;
      std::ranges::copy(raw, ip.begin());
      name = SocketAddr::v6(ip, 0).ip_text();
    }
    text += (text.empty() ? "" : ", ") + name;
  }
  GENERAL_NAMES_free(names);
  return text.empty() ? "no name" : text;
}

// Called for each certificate that OpenSSL looked at; keeps the first error.
int note_distrust(int is_good, X509_STORE_CTX* store) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* distrust = static_cast<Distrust*>(SSL_get_app_data(ssl));
  if (is_good == 1 || distrust->kind) return is_good;
  const int error = X509_STORE_CTX_get_error(store);
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  distrust->kind = mistrust_of(error);
  distrust->reason = X509_verify_cert_error_string(error);
  if (certificate == nullptr) return is_good;
  if (distrust->kind == Mistrust::kExpired)
    distrust->reason += fmt::format(" (on {})", time_text(X509_get0_notAfter(certificate)));
  if (distrust->kind == Mistrust::kNotYetValid)
    distrust->reason += fmt::format(" (before {})", time_text(X509_get0_notBefore(certificate)));
  if (distrust->kind == Mistrust::kWrongName)
    distrust->reason += fmt::format(" (it is for {})", names_of(X509_STORE_CTX_get0_cert(store)));
  return is_good;
}

// kInvalid: the name cannot be asked for.
Result<> ask_for_name(SSL* ssl, const std::string& name) {
  if (name.empty() || parse_ip(name) || SSL_set_tlsext_host_name(ssl, name.c_str()) == 1) return {};
  return fail(ErrorCode::kInvalid, "{} cannot be a TLS server name: {}", quoted(name), take_openssl_error());
}

std::unexpected<Error> not_the_server(const std::string& name, SSL* ssl, const std::optional<Pin>& pin) {
  if (pin) {
    return fail(ErrorCode::kUnauthorized, "{} is not the expected server: its key is {}, expected {}", name,
                pin->found, pin->expected.to_string());
  }
  return fail(ErrorCode::kUnauthorized, "{} is not the expected server: {}", name,
              X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
}

}  // namespace

net::Task<Result<std::unique_ptr<net::ByteStream>>> accept(std::unique_ptr<net::ByteStream> transport,
                                                           Bytes received, IdentityPtr identity,
                                                           std::vector<std::string> alpn, TimePoint deadline,
                                                           NoCommonAlpn no_common) {
  auto stream = std::make_unique<Stream>(std::move(transport), std::move(received), identity->context());
  ServerHandshake handshake{std::move(alpn), no_common, stream->loop()};
  SSL_set_accept_state(stream->ssl());
  SSL_set_app_data(stream->ssl(), &handshake);
  auto done = co_await shake_hands(*stream, deadline);
  if (!done) co_return std::unexpected(std::move(done.error()));
  SSL_set_app_data(stream->ssl(), nullptr);
  co_return std::unique_ptr<net::ByteStream>(std::move(stream));
}

Negotiated negotiated(net::ByteStream& stream) {
  auto* tls = dynamic_cast<Stream*>(&stream);
  CHECK(tls);
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(tls->ssl(), &protocol, &length);
  return {SSL_get_version(tls->ssl()), std::string(reinterpret_cast<const char*>(protocol), length)};
}

bool take_unclean_end_of_http(net::ByteStream& stream) {
  auto* tls = dynamic_cast<Stream*>(&stream);
  CHECK(tls);
  const std::string alpn = negotiated(stream).alpn;
  if (alpn != "http/1.1" && alpn != "http/1.0") return false;
  SSL_set_options(tls->ssl(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  return true;
}

Result<> check_roots(const std::string& pem) {
  const std::unique_ptr<X509_STORE, OpenSslDelete<X509_STORE_free>> store(X509_STORE_new());
  CHECK(store);
  return add_roots(store.get(), pem);
}

net::Task<Result<std::unique_ptr<net::ByteStream>>> connect(std::unique_ptr<net::ByteStream> transport,
                                                            std::string server_name, ClientTrust trust,
                                                            TimePoint deadline) {
  ERR_clear_error();
  const SslCtxPtr context = make_tls_context(TLS_client_method());
  std::optional<Pin> pin;
  if (trust.pinned_key) {
    pin = Pin{.expected = *trust.pinned_key, .found = {}};
    SSL_CTX_set_cert_verify_callback(context.get(), verify_pin, &*pin);
  } else {
    if (trust.system_roots) add_system_roots(SSL_CTX_get_cert_store(context.get()));
    if (!trust.system_roots || !trust.root_pem.empty()) {
      auto added = add_roots(SSL_CTX_get_cert_store(context.get()), trust.root_pem);
      if (!added) co_return std::unexpected(std::move(added.error()));
    }
    if (server_name.empty())
      co_return fail(ErrorCode::kInvalid, "no server name to check the certificate against");
  }
  auto stream = std::make_unique<Stream>(std::move(transport), Bytes{}, context.get());
  SSL* ssl = stream->ssl();
  SSL_set_connect_state(ssl);
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  if (auto asked = ask_for_name(ssl, server_name); !asked) co_return std::unexpected(asked.error());
  if (!pin) expect_name(ssl, server_name);
  X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), stream->loop().unix_now().time_since_epoch().count());
  auto done = co_await shake_hands(*stream, deadline);
  if (!done && SSL_get_verify_result(ssl) != X509_V_OK) co_return not_the_server(server_name, ssl, pin);
  if (!done) co_return std::unexpected(std::move(done.error()));
  // Renegotiation is off, so the callback cannot run again; what it points to ends here.
  co_return std::unique_ptr<net::ByteStream>(std::move(stream));
}

net::Task<ClientResult> connect(std::unique_ptr<net::ByteStream> transport, std::string server_name,
                                ClientContextPtr context, TimePoint deadline) {
  ERR_clear_error();
  auto stream = std::make_unique<Stream>(std::move(transport), Bytes{}, context->context());
  SSL* ssl = stream->ssl();
  Distrust distrust;
  SSL_set_connect_state(ssl);
  SSL_set_app_data(ssl, &distrust);
  SSL_set_verify(ssl, context->is_insecure() ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, note_distrust);
  if (auto asked = ask_for_name(ssl, server_name); !asked)
    co_return ClientResult{std::unexpected(asked.error())};
  if (!context->is_insecure()) expect_name(ssl, server_name);
  X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), stream->loop().unix_now().time_since_epoch().count());
  auto done = co_await shake_hands(*stream, deadline);
  // Renegotiation is off, so the callback cannot run again; what it points to ends here.
  SSL_set_app_data(ssl, nullptr);
  if (done) co_return ClientResult{std::unique_ptr<net::ByteStream>(std::move(stream))};
  if (context->is_insecure() || !distrust.kind) co_return ClientResult{std::unexpected(done.error())};
  co_return ClientResult{
      fail(ErrorCode::kUnauthorized, "{} is not the expected server: {}", server_name, distrust.reason),
      distrust.kind};
}

}  // namespace culvert::tls
