#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <span>

#include "tls/p256_key.h"
#include "tls/ticket_keys.h"
#include "tls/tls.h"

// What the files of tls/ share; the only header that shows OpenSSL.
namespace culvert::tls {

template <auto Free>
struct OpenSslDelete {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, OpenSslDelete<BIO_free_all>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDelete<EVP_PKEY_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpenSslDelete<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslDelete<SSL_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslDelete<X509_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpenSslDelete<X509_STORE_free>>;

// What the callbacks of a server context need to know of one handshake.
struct ServerHandshake {
  std::vector<std::string> alpn;
  NoCommonAlpn no_common;
  net::EventLoop& loop;
};

// The server context is made once for each identity: it takes longer than a handshake.
class Identity {
 public:
  Identity(SslCtxPtr context, std::unique_ptr<TicketKeys> tickets, UnixTime not_after)
      : tickets_(std::move(tickets)), context_(std::move(context)), not_after_(not_after) {}

  // Expects SSL_set_app_data to point at the connection's ServerHandshake during the handshake.
  SSL_CTX* context() const { return context_.get(); }
  UnixTime not_after() const { return not_after_; }

 private:
  std::unique_ptr<TicketKeys> tickets_;
  SslCtxPtr context_;
  UnixTime not_after_;
};

class Roots {
 public:
  explicit Roots(X509StorePtr store) : store_(std::move(store)) {}
  X509_STORE* store() const { return store_.get(); }

 private:
  X509StorePtr store_;
};

class Credentials {
 public:
  Credentials(std::vector<X509Ptr> chain, PkeyPtr key) : chain_(std::move(chain)), key_(std::move(key)) {}
  const std::vector<X509Ptr>& chain() const { return chain_; }  // leaf first, never empty
  EVP_PKEY* key() const { return key_.get(); }

 private:
  std::vector<X509Ptr> chain_;
  PkeyPtr key_;
};

class ClientContext {
 public:
  ClientContext(SslCtxPtr context, bool is_insecure)
      : context_(std::move(context)), is_insecure_(is_insecure) {}
  SSL_CTX* context() const { return context_.get(); }
  bool is_insecure() const { return is_insecure_; }

 private:
  SslCtxPtr context_;
  bool is_insecure_;
};

// A context with what both sides have in common: versions, ciphers, buffer policy.
SslCtxPtr make_tls_context(const SSL_METHOD* method);

// A context that serves leaf and key, followed by `issuers` in their order.
Result<IdentityPtr> make_identity(X509* leaf, EVP_PKEY* key, std::span<X509* const> issuers,
                                  UnixTime not_after);

PkeyPtr new_p256_key();
EVP_PKEY* pkey_of(const P256Key& key);

// PEM. What is read lives as long as the text; nullptr, with an error in OpenSSL's queue, where there is
// none.
BioPtr bio_over(std::string_view text);
PkeyPtr read_private_key(const SecretString& pem);  // never asks for a password
std::string to_pem(X509* certificate);
SecretString to_pem(EVP_PKEY* key);  // PKCS #8

// For the readers of PEM: without it OpenSSL asks the terminal for the password of an encrypted key.
int no_password(char*, int, int, void*);
// The certificates of a PEM text, in order. kInvalid: one of them is broken.
Result<std::vector<X509Ptr>> parse_certificates(const std::string& pem);
// kInvalid: not an unencrypted PEM key; the message begins with "is not".
Result<PkeyPtr> parse_private_key(const SecretString& pem);
// Adds the certificates that the system trusts: those of its file, which is read again only when it has
// changed, because that takes longer than a handshake; and the place of its directory, where OpenSSL looks
// for an issuer when it meets one. Both are where SSL_CERT_FILE and SSL_CERT_DIR say, or OpenSSL's defaults.
// What is missing or broken is left out. Thread-safe.
void add_system_roots(X509_STORE* store);
// "2026-11-26 18:00:00 UTC"
std::string time_text(const ASN1_TIME* time);
Result<UnixTime> unix_time_of(const ASN1_TIME* time);

// id-pe-acmeIdentifier (RFC 8737, 6.1).
inline constexpr const char* kAcmeIdentifier = "1.3.6.1.5.5.7.1.31";

// What OpenSSL says went wrong, in words; empties its error queue.
std::string take_openssl_error();

}  // namespace culvert::tls
