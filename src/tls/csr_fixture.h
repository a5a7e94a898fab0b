#pragma once
#include <openssl/x509v3.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "base/check.h"
#include "tls/openssl.h"

// For tests: a CA that answers certificate signing requests. Its leaves chain through an intermediate to a
// root, as those of a public CA do.
namespace culvert::tls::testing {

class RequestSigner {
 public:
  RequestSigner() {
    root_ = make(root_key_.get(), "Test Root", nullptr, UnixTime(), kForever);
    add(root_.get(), root_.get(), NID_basic_constraints, "critical,CA:TRUE");
    add(root_.get(), root_.get(), NID_subject_key_identifier, "hash");
    sign(root_.get(), root_key_.get());
    intermediate_ = make(intermediate_key_.get(), "Test Intermediate", root_.get(), UnixTime(), kForever);
    add(intermediate_.get(), root_.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add(intermediate_.get(), root_.get(), NID_subject_key_identifier, "hash");
    sign(intermediate_.get(), root_key_.get());
  }

  std::string root_pem() const { return to_pem(root_.get()); }

  // Leaf and intermediate, in PEM, for the key and the names of the request.
  std::string issue(ByteView request_der, UnixTime from, UnixTime to) {
    const uint8_t* at = request_der.data();
    X509_REQ* request = d2i_X509_REQ(nullptr, &at, static_cast<long>(request_der.size()));
    if (request == nullptr || X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) != 1) {
      X509_REQ_free(request);
      throw std::runtime_error("not a certificate signing request that is signed by its key");
    }
    X509Ptr leaf = make(X509_REQ_get0_pubkey(request), "", intermediate_.get(), from, to);
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); ++i) {
      CHECK(X509_add_ext(leaf.get(), sk_X509_EXTENSION_value(extensions, i), -1) == 1);
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_REQ_free(request);
    add(leaf.get(), intermediate_.get(), NID_authority_key_identifier, "keyid:always");
    sign(leaf.get(), intermediate_key_.get());
    return to_pem(leaf.get()) + to_pem(intermediate_.get());
  }

 private:
  static constexpr UnixTime kForever{std::chrono::seconds(4'000'000'000)};

  X509Ptr make(EVP_PKEY* key, const char* name, X509* issuer, UnixTime from, UnixTime to) {
    X509Ptr out(X509_new());
    CHECK(X509_set_version(out.get(), X509_VERSION_3) == 1);
    // A first byte over 0x7f: DER puts a zero in front.
    CHECK(ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), 0x8765432100ull + ++serial_) == 1);
    CHECK(ASN1_TIME_set(X509_getm_notBefore(out.get()), from.time_since_epoch().count()));
    CHECK(ASN1_TIME_set(X509_getm_notAfter(out.get()), to.time_since_epoch().count()));
    X509_NAME* subject = X509_get_subject_name(out.get());
    if (*name != '\0') {
      CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const uint8_t*>(name),
                                       -1, -1, 0) == 1);
    }
    CHECK(X509_set_issuer_name(out.get(), issuer ? X509_get_subject_name(issuer) : subject) == 1);
    CHECK(X509_set_pubkey(out.get(), key) == 1);
    return out;
  }
  static void add(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    CHECK(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
  }
  static void sign(X509* certificate, EVP_PKEY* key) { CHECK(X509_sign(certificate, key, EVP_sha256()) > 0); }

  uint64_t serial_ = 0;
  PkeyPtr root_key_ = new_p256_key(), intermediate_key_ = new_p256_key();
  X509Ptr root_, intermediate_;
};

}  // namespace culvert::tls::testing
