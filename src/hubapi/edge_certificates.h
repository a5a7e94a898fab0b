#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

// POST /v1/edges/self/certificates: an edge asks its hub for what it does not have yet of certificates and
// pending challenges. The hub answers when there is something, and after some seconds in any case; the next
// request says that the edge has it. The answer has private keys, and goes to edges alone.
namespace culvert::hubapi {

struct CertificateRequest {
  // As in the last update that was taken; empty and 0: none was.
  std::string epoch = {};
  uint64_t version = 0;
  std::vector<std::string> challenges = {};  // types that the edge answers: tls-alpn-01, http-01
  bool operator==(const CertificateRequest&) const = default;
};
std::string encode(const CertificateRequest& request);
// Members that are not known are left out, since an edge may be newer than its hub.
Result<CertificateRequest> decode_certificate_request(std::string_view json);

struct EdgeCertificate {
  std::string name;       // a hostname or a wildcard
  std::string chain;      // PEM
  SecretString key;       // PEM
  std::string directory;  // the URL of the CA
  bool operator==(const EdgeCertificate&) const = default;
};
struct EdgeChallenge {
  std::string type;
  std::string name;
  std::string token;
  std::string key_authorization;
  bool operator==(const EdgeChallenge&) const = default;
};
// No two challenges that are pending have the same.
std::string key_of(const EdgeChallenge& challenge);

// Nothing is in it twice.
struct CertificateUpdate {
  std::string epoch = {};  // of this start of a hub
  uint64_t version = 0;    // that the edge has with it
  bool is_restart =
      false;  // what the edge has is forgotten, but for what comes from here on until is_complete
  bool is_complete = false;  // there is nothing behind it now
  std::vector<EdgeCertificate> certificates = {};
  std::vector<std::string> removed_certificates = {};
  std::vector<EdgeChallenge> challenges = {};
  std::vector<EdgeChallenge> removed_challenges = {};
  bool operator==(const CertificateUpdate&) const = default;
};
SecretString encode(const CertificateUpdate& update);
// kInvalid; the message repeats no key. Members that are not known are left out.
Result<CertificateUpdate> decode_certificate_update(const SecretString& json);

}  // namespace culvert::hubapi
