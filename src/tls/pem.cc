#include <openssl/ec.h>
#include <openssl/pem.h>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

std::string take_text(const BioPtr& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

}  // namespace

int no_password(char*, int, int, void*) { return -1; }

PkeyPtr new_p256_key() {
  PkeyPtr key(EVP_EC_gen("P-256"));
  CHECK(key);
  return key;
}

BioPtr bio_over(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

PkeyPtr read_private_key(const SecretString& pem) {
  return PkeyPtr(PEM_read_bio_PrivateKey(bio_over(pem.expose()).get(), nullptr, no_password, nullptr));
}

std::string to_pem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return take_text(bio);
}

SecretString to_pem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));  // wiped when freed
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return SecretString::take(take_text(bio));
}

}  // namespace culvert::tls
