#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <span>

#include "tls/p256_key.h"
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

// What a server speaks, during one handshake.
struct ServerAlpn {
  std::vector<std::string> ours;
  NoCommonAlpn no_common;
};

// The server context is made once for each identity: it takes longer than a handshake.
class Identity {
 public:
  Identity(SslCtxPtr context, UnixTime not_after) : context_(std::move(context)), not_after_(not_after) {}

  // Expects SSL_set_app_data to point at the connection's ServerAlpn during the handshake.
  SSL_CTX* context() const { return context_.get(); }
  UnixTime not_after() const { return not_after_; }

 private:
  SslCtxPtr context_;
  UnixTime not_after_;
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

// What OpenSSL says went wrong, in words; empties its error queue.
std::string take_openssl_error();

}  // namespace culvert::tls
